import { ByteReader, ByteWriter, MalformedBytesError } from '../wal/byte_codec.ts';

/** Frames of `type, 1 byte | length, 4 bytes big-endian | payload`: how snapshots and backups are cut into pieces. */
export interface Frame {
  readonly type: number;
  readonly payload: Uint8Array;
  /** With its head. */
  readonly bytes: Uint8Array;
}

const frameHeadBytes = 5;
/** What a frame of rows is filled up to. A row may be larger; then its frame is. */
const rowsFrameBytes = 256 * 1024;
const maxFrameBytes = 16 * 1024 * 1024;

/** A writer whose bytes are a frame's, once it is ended by `endOfFrame`. */
export function startFrame(sizeBytes: number): ByteWriter {
  const out = new ByteWriter(sizeBytes + 4096);
  out.raw(new Uint8Array(frameHeadBytes));
  return out;
}

export function endOfFrame(type: number, out: ByteWriter): Uint8Array {
  const frame = out.finish();
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  view.setUint8(0, type);
  view.setUint32(1, frame.length - frameHeadBytes);
  return frame;
}

/** Key and value. */
export type FramedRow = readonly [key: Uint8Array, value: Uint8Array];

/** The rows, each as key and value with their lengths (LEB128), in frames of this type; each is told as it passes. */
export async function* framesOfRows(
  type: number,
  rows: AsyncIterable<FramedRow>,
  passing?: (row: FramedRow) => void,
): AsyncGenerator<Uint8Array> {
  let out = startFrame(rowsFrameBytes);
  for await (const row of rows) {
    passing?.(row);
    out.bytes(row[0]);
    out.bytes(row[1]);
    if (out.lengthBytes >= rowsFrameBytes) {
      yield endOfFrame(type, out);
      out = startFrame(rowsFrameBytes);
    }
  }
  if (out.lengthBytes > frameHeadBytes) yield endOfFrame(type, out);
}

/** Of one such frame. @throws MalformedBytesError */
export function rowsOfFrame(payload: Uint8Array): FramedRow[] {
  const input = new ByteReader(payload);
  const rows: FramedRow[] = [];
  while (input.remaining > 0) rows.push([input.bytes(), input.bytes()]);
  return rows;
}

/** Runs what reads bytes, and makes `damaged`'s error of those that are not as they should be. */
export function readingFrame<T>(read: () => T, damaged: (what: string) => Error): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof MalformedBytesError) throw damaged(error.message);
    throw error;
  }
}

/** @param damaged makes the error for bytes that are no frames. */
export async function* readFrames(
  pieces: AsyncIterable<Uint8Array>,
  damaged: (what: string) => Error,
): AsyncGenerator<Frame> {
  let held: Buffer = Buffer.alloc(0);
  let parts: Uint8Array[] = [];
  let heldBytes = 0;
  let needed = frameHeadBytes;
  for await (const piece of pieces) {
    parts.push(piece);
    heldBytes += piece.length;
    if (heldBytes < needed) continue;
    held = Buffer.concat(parts);
    let at = 0;
    for (;;) {
      needed = frameHeadBytes;
      if (held.length - at < needed) break;
      const length = held.readUInt32BE(at + 1);
      if (length > maxFrameBytes) throw damaged(`a frame of ${length} bytes`);
      needed = frameHeadBytes + length;
      if (held.length - at < needed) break;
      const bytes = held.subarray(at, at + needed);
      yield { type: bytes.readUInt8(0), payload: bytes.subarray(frameHeadBytes), bytes };
      at += needed;
    }
    held = held.subarray(at);
    parts = [held];
    heldBytes = held.length;
  }
  if (heldBytes > 0) throw damaged('it ends within a frame');
}
