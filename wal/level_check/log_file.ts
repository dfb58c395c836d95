import { maskedCrc } from './checksum.ts';

const blockBytes = 32 * 1024;
const headerBytes = 7;
const full = 1;
const first = 2;
const last = 4;

/** What a log of LevelDB (doc/log_format.md) holds. */
interface LogContents {
  /** Whole records, up to the first that can't be read. */
  readonly records: readonly Uint8Array[];
  /**
   * `torn`: the end can't be read and nothing valid lies behind, as a crash leaves it. `damaged`: something valid lies
   * behind what can't be read, so it was whole once.
   */
  readonly end: 'clean' | 'torn' | 'damaged';
}

/** Reads a log file as LevelDB would, but notices what LevelDB passes over in silence. */
export function readLogFile(bytes: Uint8Array): LogContents {
  const records: Uint8Array[] = [];
  let open: Uint8Array[] | undefined;
  let bad = false;
  for (let block = 0; block < bytes.length; block += blockBytes) {
    const end = Math.min(block + blockBytes, bytes.length);
    for (let at = block; end - at >= headerBytes;) {
      const fragment = readFragment(bytes, at, end);
      if (fragment === undefined) {
        bad = true;
        // Where the next one begins isn't known; if anything follows in this block, only its checksum can tell.
        if (anyFragment(bytes, at + 1, end)) return { records, end: 'damaged' };
        break;
      }
      if (bad) return { records, end: 'damaged' };
      at += headerBytes + fragment.data.length;
      if (fragment.type === full || fragment.type === first) {
        // A first one behind an unfinished one: the writer crashed in between and went on in the same file.
        if (open !== undefined) return { records, end: 'damaged' };
        open = [];
      } else if (open === undefined) return { records, end: 'damaged' };
      open.push(fragment.data);
      if (fragment.type === full || fragment.type === last) {
        records.push(Buffer.concat(open));
        open = undefined;
      }
    }
    const rest = bytes.length - block;
    // What is left of a whole block is padding; at the end of the file it is the beginning of a header.
    if (rest < blockBytes && rest % blockBytes !== 0 && trailing(bytes, block, end)) bad = true;
  }
  return { records, end: bad || open !== undefined ? 'torn' : 'clean' };
}

interface Fragment {
  readonly type: number;
  readonly data: Uint8Array;
}

function readFragment(bytes: Uint8Array, at: number, end: number): Fragment | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, headerBytes);
  const length = view.getUint16(4, true);
  const type = view.getUint8(6);
  if (type < full || type > last || at + headerBytes + length > end) return undefined;
  const covered = bytes.subarray(at + headerBytes - 1, at + headerBytes + length);
  if (maskedCrc(covered) !== view.getUint32(0, true)) return undefined;
  return { type, data: bytes.subarray(at + headerBytes, at + headerBytes + length) };
}

function anyFragment(bytes: Uint8Array, from: number, end: number): boolean {
  for (let at = from; end - at >= headerBytes; at++) {
    if (readFragment(bytes, at, end) !== undefined) return true;
  }
  return false;
}

/** Whether a last, short block ends with fewer bytes than a header has. */
function trailing(bytes: Uint8Array, block: number, end: number): boolean {
  let at = block;
  while (end - at >= headerBytes) {
    const fragment = readFragment(bytes, at, end);
    if (fragment === undefined) return true;
    at += headerBytes + fragment.data.length;
  }
  return at !== end;
}
