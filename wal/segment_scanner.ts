import { systemErrorCode, type File } from './file_system.ts';
import {
  decodeRecordHeader,
  MAX_KEY_BYTES,
  payloadCrc,
  RECORD_HEADER_BYTES,
  recordLength,
  type LogIdentity,
  type RecordHeader,
} from './format.ts';

const DEFAULT_CHUNK_BYTES = 4 * 1024 * 1024;
/** The rest of a chunk moves in front of the next one; a longer rest costs a copy of both. */
const MAX_HEADROOM_BYTES = 1024 * 1024 + 4096;
/** Granularity at which an unreadable stretch of a file is told from its readable surroundings. */
const UNREADABLE_STEP_BYTES = 4096;

/** A record with its header, internal ones too, or bytes from which no record can be read. */
export type ScannedItem =
  | {
      readonly kind: 'record';
      readonly header: RecordHeader;
      readonly lengthBytes: number;
      readonly key: Buffer;
      readonly payload: Buffer;
    }
  | {
      readonly kind: 'damage';
      readonly from: number;
      readonly to: number;
      readonly reason: string;
      readonly owner?: { readonly type: number; readonly key: Buffer };
    };

interface ScanSource {
  readonly file: Pick<File, 'read'>;
  readonly identity: LogIdentity;
  readonly segment: number;
  /** Offset of a record. */
  readonly from: number;
  /** Where to stop: a record that goes on behind it is damage. */
  readonly to: number;
  readonly chunkBytes?: number;
  /** Memory is used again: keys and payloads are only good until the next batch is asked for. Default false. */
  readonly transient?: boolean;
}

/**
 * Everything between `from` and `to`, in order and without gaps, a chunk's worth at a time. Behind bytes that aren't a
 * record it goes on at the next header that passes its CRC and belongs to its place. Keys and payloads are views of
 * memory that isn't used again, unless the scan is transient.
 */
export async function* scanSegment(source: ScanSource): AsyncGenerator<readonly ScannedItem[]> {
  const { identity, segment, to } = source;
  const window = new Window(source);
  let items: ScannedItem[] = [];
  let at = source.from;
  let sequence: number | undefined;

  while (at < to) {
    const decoded = decodeRecordHeader(identity, {
      bytes: window.bytes,
      at: at - window.start,
      place: { segment, offset: at },
    });
    const neededBytes =
      decoded.kind === 'short'
        ? decoded.neededBytes
        : decoded.kind === 'header'
          ? recordLength(decoded.header)
          : RECORD_HEADER_BYTES;
    const fits = at + neededBytes <= to;
    if (decoded.kind !== 'invalid' && fits && !window.covers(at, neededBytes)) {
      if (items.length > 0) yield items;
      items = [];
      await window.moveTo(at, neededBytes);
      // The file may be shorter than `to` promised.
      if (window.covers(at, neededBytes)) continue;
    }
    if (decoded.kind !== 'header' || !fits || !window.covers(at, neededBytes)) {
      // The search may move the window on.
      if (items.length > 0) yield items;
      items = [];
      const next = await findRecord(window, { source, after: at });
      const reason = decoded.kind === 'invalid' ? decoded.reason : 'the record is cut short';
      items.push({ kind: 'damage', from: at, to: next, reason });
      at = next;
      sequence = undefined;
      continue;
    }
    const item = checkRecord(window, { at, header: decoded.header, sequence });
    items.push(item);
    at += neededBytes;
    sequence = decoded.header.sequence + 1;
  }
  if (items.length > 0) yield items;
}

function checkRecord(
  window: Window,
  record: { readonly at: number; readonly header: RecordHeader; readonly sequence: number | undefined },
): ScannedItem {
  const { at, header, sequence } = record;
  const lengthBytes = recordLength(header);
  const begin = at - window.start;
  const keyEnd = begin + RECORD_HEADER_BYTES + header.keyBytes;
  const key = window.bytes.subarray(begin + RECORD_HEADER_BYTES, keyEnd);
  const payload = window.bytes.subarray(keyEnd, begin + lengthBytes);
  const damage = (reason: string): ScannedItem => ({
    kind: 'damage',
    from: at,
    to: at + lengthBytes,
    reason,
    owner: { type: header.type, key },
  });
  if (payloadCrc([payload]) !== header.payloadCrc) return damage('the CRC of the payload is wrong');
  if (sequence !== undefined && header.sequence !== sequence) {
    return damage(`sequence ${header.sequence} where ${sequence} belongs`);
  }
  return { kind: 'record', header, lengthBytes, key, payload };
}

/** Offset of the next header behind `after` that proves itself, or the end. */
async function findRecord(
  window: Window,
  search: { readonly source: ScanSource; readonly after: number },
): Promise<number> {
  const { identity, segment, to } = search.source;
  let at = search.after + 1;
  while (at < to) {
    const bytes = Math.min(RECORD_HEADER_BYTES + MAX_KEY_BYTES, to - at);
    if (!window.covers(at, bytes)) {
      await window.moveTo(at, bytes);
      if (!window.covers(at, bytes)) return to;
    }
    const found = window.bytes.indexOf(identity.recordPrefix, at - window.start);
    if (found < 0) {
      // The prefix may straddle the end of the window.
      const searched = window.start + window.bytes.length - identity.recordPrefix.length + 1;
      if (searched >= to || searched <= at) return to;
      at = searched;
      continue;
    }
    const offset = window.start + found;
    if (offset >= to) return to;
    if (offset > at) {
      at = offset;
      continue;
    }
    const place = { segment, offset };
    if (decodeRecordHeader(identity, { bytes: window.bytes, at: found, place }).kind === 'header')
      return offset;
    at = offset + 1;
  }
  return to;
}

/** The part of the file that is in memory. The chunk behind it is read while this one is looked at. */
class Window {
  readonly #source: ScanSource;
  readonly #chunkBytes: number;
  readonly #headroomBytes: number;
  #ahead: Chunk | undefined;
  /** What `bytes` lies in. */
  #memory: Buffer | undefined;
  /** Of a transient scan: memory that nobody reads any more. Fresh memory costs more than what is read into it. */
  #spare: Buffer | undefined;
  start: number;
  bytes: Buffer = Buffer.alloc(0);

  constructor(source: ScanSource) {
    this.#source = source;
    this.#chunkBytes = source.chunkBytes ?? DEFAULT_CHUNK_BYTES;
    this.#headroomBytes = Math.min(MAX_HEADROOM_BYTES, this.#chunkBytes, source.to - source.from);
    this.start = source.from;
  }

  covers(at: number, lengthBytes: number): boolean {
    return at >= this.start && at + lengthBytes <= this.start + this.bytes.length;
  }

  /** Covers at least `lengthBytes` from `at`, unless the file ends before. What is in memory isn't read again. */
  async moveTo(at: number, lengthBytes: number): Promise<void> {
    const { to } = this.#source;
    const end = this.start + this.bytes.length;
    const rest =
      at >= this.start && at < end ? this.bytes.subarray(at - this.start) : this.bytes.subarray(0, 0);
    const from = at + rest.length;
    const missing = Math.min(lengthBytes, to - at) - rest.length;
    const ahead = this.#ahead?.from === from && this.#ahead.target.length - this.#headroomBytes >= missing;
    const chunk = ahead && this.#ahead !== undefined ? this.#ahead : this.#read(from, missing);
    this.#ahead = undefined;
    const read = chunk.target.subarray(this.#headroomBytes, this.#headroomBytes + (await chunk.count));
    if (rest.length <= this.#headroomBytes) {
      const begin = this.#headroomBytes - rest.length;
      rest.copy(chunk.target, begin);
      this.bytes = chunk.target.subarray(begin, this.#headroomBytes + read.length);
      if (this.#source.transient === true) this.#spare = this.#memory;
      this.#memory = chunk.target;
    } else {
      this.bytes = Buffer.concat([rest, read]);
      this.#memory = undefined;
    }
    this.start = at;
    if (from + read.length < to && read.length > 0) this.#ahead = this.#read(from + read.length, 0);
  }

  /** With room in front for the rest of the chunk before. */
  #read(from: number, atLeast: number): Chunk {
    const { file, to } = this.#source;
    const wanted = Math.min(Math.max(this.#chunkBytes, atLeast), to - from);
    const target = this.#take(this.#headroomBytes + wanted);
    const count = readAround(file, { target: target.subarray(this.#headroomBytes), position: from });
    // It is awaited when its turn comes, if it does.
    count.catch(() => undefined);
    return { from, target, count };
  }

  #take(lengthBytes: number): Buffer {
    const spare = this.#spare;
    this.#spare = undefined;
    if (spare !== undefined && spare.length >= lengthBytes) return spare.subarray(0, lengthBytes);
    return Buffer.allocUnsafeSlow(lengthBytes);
  }
}

interface Chunk {
  readonly from: number;
  readonly target: Buffer;
  readonly count: Promise<number>;
}

/** Reads what can be read; a stretch that the disk can't give (EIO) is left as zeros, which fail every check. */
export async function readAround(
  file: Pick<File, 'read'>,
  range: { readonly target: Buffer; readonly position: number },
): Promise<number> {
  const { target, position } = range;
  try {
    return await file.read(target, position);
  } catch (error) {
    if (systemErrorCode(error) !== 'EIO') throw error;
  }
  let end = 0;
  for (let at = 0; at < target.length; at += UNREADABLE_STEP_BYTES) {
    const piece = target.subarray(at, at + UNREADABLE_STEP_BYTES);
    try {
      const count = await file.read(piece, position + at);
      end = at + count;
      if (count < piece.length) break;
    } catch (error) {
      if (systemErrorCode(error) !== 'EIO') throw error;
      piece.fill(0);
      end = at + piece.length;
    }
  }
  return end;
}
