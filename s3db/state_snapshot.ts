import { createHash } from 'node:crypto';
import { ByteReader } from '../wal/byte_codec.ts';
import {
  endOfFrame,
  framesOfRows,
  readFrames,
  readingFrame,
  rowsOfFrame,
  startFrame,
  type FramedRow,
} from './frames.ts';
import { bytesEqual } from './key_bytes.ts';
import { readSnapshotMeta, writeSnapshotMeta } from './log_record_codec.ts';
import type { SnapshotMeta } from './raft/types.ts';

/**
 * A snapshot of the state as it travels: frames of `type, 1 byte | length, 4 bytes big-endian | payload`.
 *
 *     1 head  "s3dbsnap", format 1, log time (48 bits), index, term, configuration
 *     2 rows  key and stored value of each row, with their lengths, in order of the keys
 *     3 end   SHA-256 of all bytes before this frame
 */
interface SnapshotHead {
  readonly meta: SnapshotMeta;
  readonly logTimeMs: number;
}

/** A snapshot that isn't what its sender meant to send. Nothing of it may be used. */
class SnapshotDamagedError extends Error {
  override readonly name = 'SnapshotDamagedError';
}

/** Key and stored value. */
export type SnapshotRow = FramedRow;

const magic = Buffer.from('s3dbsnap');
const format = 1;
const headFrame = 1;
const rowsFrame = 2;
const endFrame = 3;

export async function* encodeSnapshot(
  head: SnapshotHead,
  rows: AsyncIterable<SnapshotRow>,
): AsyncGenerator<Uint8Array> {
  const sum = createHash('sha256');
  const summed = (frame: Uint8Array): Uint8Array => {
    sum.update(frame);
    return frame;
  };
  yield summed(encodeHead(head));
  for await (const frame of framesOfRows(rowsFrame, rows)) yield summed(frame);
  const end = startFrame(64);
  end.raw(sum.digest());
  yield endOfFrame(endFrame, end);
}

/**
 * Reads a snapshot piece by piece. `rows` is called with the rows of each frame and may throw; what it keeps counts only
 * once this resolves. @throws SnapshotDamagedError unless everything up to the digest is as it was sent.
 */
export async function decodeSnapshot(
  pieces: AsyncIterable<Uint8Array>,
  rows: (rows: readonly SnapshotRow[]) => Promise<void>,
): Promise<SnapshotHead> {
  const sum = createHash('sha256');
  let head: SnapshotHead | undefined;
  let ended = false;
  for await (const { type, payload, bytes } of readFrames(pieces, damaged)) {
    if (ended) throw new SnapshotDamagedError('bytes behind the end of the snapshot');
    if (type === endFrame) {
      if (!bytesEqual(payload, sum.digest())) throw new SnapshotDamagedError('the digest does not match');
      ended = true;
      continue;
    }
    sum.update(bytes);
    if (type === headFrame && head === undefined) head = decodeHead(payload);
    else if (type === rowsFrame && head !== undefined)
      await rows(readingFrame(() => rowsOfFrame(payload), damaged));
    else throw new SnapshotDamagedError(`a frame of type ${type} where none may be`);
  }
  if (!ended || head === undefined) throw new SnapshotDamagedError('the snapshot ends early');
  return head;
}

function encodeHead({ meta, logTimeMs }: SnapshotHead): Uint8Array {
  const out = startFrame(256);
  out.raw(magic);
  out.u8(format);
  out.u48(logTimeMs);
  writeSnapshotMeta(out, meta);
  return endOfFrame(headFrame, out);
}

function decodeHead(payload: Uint8Array): SnapshotHead {
  return readingFrame(() => {
    const input = new ByteReader(payload);
    if (!bytesEqual(input.raw(magic.length), magic) || input.u8() !== format) {
      throw new SnapshotDamagedError('not a snapshot of a format that is known here');
    }
    const logTimeMs = input.u48();
    const meta = readSnapshotMeta(input);
    input.end();
    return { meta, logTimeMs };
  }, damaged);
}

function damaged(what: string): Error {
  return new SnapshotDamagedError(what);
}
