import { createHash, type Hash } from 'node:crypto';
import { ByteReader, MalformedBytesError } from '../wal/byte_codec.ts';
import {
  endOfFrame,
  framesOfRows,
  readFrames,
  readingFrame,
  rowsOfFrame,
  startFrame,
  type FramedRow,
} from './frames.ts';
import { asBuffer, bytesEqual } from './key_bytes.ts';

/**
 * A backup of the whole database, as a file. Frames of `type, 1 byte | length, 4 bytes big-endian | payload`:
 *
 *     1 head  "s3dbbkup", format 1, then JSON (`BackupHead`)
 *     2 rows  table, zero byte and key together, and value, each with its length (LEB128), in the order of these keys
 *     3 end   number of rows (LEB128), SHA-256 of the contents, SHA-256 of all bytes before this frame
 *
 * The contents' digest depends on rows alone: for each, lengths of key and value (4 bytes big-endian each), key, value.
 * Tables of the database's own (`s3db-...`) and remembered requests aren't in it.
 */
export interface BackupHead {
  /** The cluster that it was made of, 16 bytes in hex. */
  readonly cluster: string;
  /** The last entry of the log that it holds, and that entry's term. */
  readonly index: number;
  readonly term: number;
  /** The highest timestamp of any write in it, ISO 8601; null: none. */
  readonly logTime: string | null;
  /** When it was made, by its maker's clock. */
  readonly created: string;
}

export interface BackupEnd {
  readonly rows: number;
  /** SHA-256 of the contents, hex. */
  readonly contents: string;
}

/** A row: table, zero byte, key; and the value. */
export type BackupRow = FramedRow;

/** The file isn't what was written. Nothing of it may be used. */
export class BackupDamagedError extends Error {
  override readonly name = 'BackupDamagedError';
}

const magic = Buffer.from('s3dbbkup');
const format = 1;
const headFrame = 1;
const rowsFrame = 2;
const endFrame = 3;

export async function* encodeBackup(
  head: BackupHead,
  rows: AsyncIterable<BackupRow>,
): AsyncGenerator<Uint8Array> {
  const sum = createHash('sha256');
  const contents = new ContentsDigest();
  const summed = (frame: Uint8Array): Uint8Array => {
    sum.update(frame);
    return frame;
  };
  const first = startFrame(1024);
  first.raw(magic);
  first.u8(format);
  first.raw(Buffer.from(JSON.stringify(head)));
  yield summed(endOfFrame(headFrame, first));
  const frames = framesOfRows(rowsFrame, rows, ([key, value]) => contents.add(key, value));
  for await (const frame of frames) yield summed(frame);
  const end = startFrame(128);
  end.varint(contents.rows);
  end.raw(contents.digest());
  end.raw(sum.digest());
  yield endOfFrame(endFrame, end);
}

/**
 * Reads a backup piece by piece; `rows` gets those of one frame at a time. Only once this resolves is it certain that
 * everything was as it was written. @throws BackupDamagedError
 */
export async function decodeBackup(
  pieces: AsyncIterable<Uint8Array>,
  take: {
    readonly head?: (head: BackupHead) => void;
    readonly rows?: (rows: readonly BackupRow[]) => Promise<void>;
  } = {},
): Promise<BackupHead & BackupEnd> {
  const sum = createHash('sha256');
  const contents = new ContentsDigest();
  const damaged = (what: string): Error => new BackupDamagedError(`the backup is damaged: ${what}`);
  let head: BackupHead | undefined;
  let end: BackupEnd | undefined;
  for await (const { type, payload, bytes } of readFrames(pieces, damaged)) {
    if (end !== undefined) throw damaged('bytes behind its end');
    if (type === headFrame && head === undefined) {
      head = decodeHead(payload, damaged);
      take.head?.(head);
    } else if (type === rowsFrame && head !== undefined) {
      const rows = readingFrame(() => rowsOfFrame(payload), damaged);
      for (const [key, value] of rows) contents.add(key, value);
      await take.rows?.(rows);
    } else if (type === endFrame && head !== undefined) {
      end = readingFrame(() => decodeEnd(payload, sum), damaged);
      if (end.rows !== contents.rows || end.contents !== asBuffer(contents.digest()).toString('hex')) {
        throw damaged('its rows are not those that it was made of');
      }
      continue;
    } else throw damaged(`a frame of type ${type} where none may be`);
    sum.update(bytes);
  }
  if (head === undefined || end === undefined) throw damaged('it ends early');
  return { ...head, ...end };
}

/** The digest of a database's contents, to be fed with all rows in order. */
export class ContentsDigest {
  readonly #sum: Hash = createHash('sha256');
  #rows = 0;

  get rows(): number {
    return this.#rows;
  }

  add(key: Uint8Array, value: Uint8Array): void {
    const lengths = Buffer.alloc(8);
    lengths.writeUInt32BE(key.length);
    lengths.writeUInt32BE(value.length, 4);
    this.#sum.update(lengths).update(key).update(value);
    this.#rows++;
  }

  /** Once. */
  digest(): Uint8Array {
    return this.#sum.digest();
  }
}

function decodeHead(payload: Uint8Array, damaged: (what: string) => Error): BackupHead {
  const bytes = asBuffer(payload);
  if (!bytes.subarray(0, magic.length).equals(magic)) throw new BackupDamagedError('this is not a backup');
  if (bytes[magic.length] !== format) {
    throw new BackupDamagedError(`a backup of format ${bytes[magic.length] ?? -1}, not known here`);
  }
  try {
    return JSON.parse(bytes.toString('utf8', magic.length + 1)) as BackupHead;
  } catch (error) {
    if (error instanceof SyntaxError) throw damaged('its head cannot be read');
    throw error;
  }
}

function decodeEnd(payload: Uint8Array, sum: Hash): BackupEnd {
  const input = new ByteReader(payload);
  const rows = input.varint();
  const contents = asBuffer(input.raw(32)).toString('hex');
  const whole = input.raw(32);
  input.end();
  if (!bytesEqual(whole, sum.digest())) throw new MalformedBytesError('its checksum does not match');
  return { rows, contents };
}
