import { ContentDamagedError } from '../data_store.ts';
import { tagBytes } from '../encryption/frame_cipher.ts';
import { frameCount, plainLength } from './geometry.ts';
import type { SealedRow } from './sealed_row.ts';

const entryBytes = 4;
/** Tables of up to so many frames stand in the row: smaller objects cost one read. */
const inlineFrames = 64;

export function encodeLengths(lengths: readonly number[]): Uint8Array {
  const bytes = Buffer.alloc(lengths.length * entryBytes);
  for (const [i, length] of lengths.entries()) bytes.writeUInt32BE(length, i * entryBytes);
  return bytes;
}

export function fitsIntoRow(frames: number): boolean {
  return frames <= inlineFrames;
}

export interface FrameLayout {
  readonly sizeBytes: number;
  readonly frameBytes: number;
  readonly frames: number;
  readonly encrypted: boolean;
  /** Where frame `number` begins among the stored bytes; of the number after the last: where the frames end. */
  start(number: number): number;
}

/** Every frame is as long as its content, and its tag. */
export function fixedLayout(sizeBytes: number, row: SealedRow): FrameLayout {
  const { frameBytes } = row;
  const frames = frameCount(sizeBytes, frameBytes);
  const tag = row.key === undefined ? 0 : tagBytes;
  const end = sizeBytes + frames * tag;
  if (end !== row.storedBytes) {
    throw new ContentDamagedError(`content of ${sizeBytes} bytes is said to be stored in ${row.storedBytes}`);
  }
  return {
    sizeBytes,
    frameBytes,
    frames,
    encrypted: row.key !== undefined,
    start: (number) => Math.min(number * (frameBytes + tag), end),
  };
}

/**
 * Frames are as long as the table says.
 * @throws ContentDamagedError where it can't be the table of such content.
 */
export function tableLayout(sizeBytes: number, row: SealedRow, lengths: Uint8Array): FrameLayout {
  const { frameBytes } = row;
  const frames = frameCount(sizeBytes, frameBytes);
  const encrypted = row.key !== undefined;
  if (lengths.length !== frames * entryBytes) {
    throw new ContentDamagedError(`a table of ${lengths.length} bytes for ${frames} frames`);
  }
  const table = Buffer.from(lengths.buffer, lengths.byteOffset, lengths.length);
  const starts = new Float64Array(frames + 1);
  for (let number = 0; number < frames; number++) {
    const length = table.readUInt32BE(number * entryBytes);
    const longest = plainLength(number, { sizeBytes, frameBytes }) + (encrypted ? tagBytes : 0);
    if (length < 1 || length > longest)
      throw new ContentDamagedError(`frame ${number} is said to have ${length} bytes`);
    starts[number + 1] = (starts[number] ?? 0) + length;
  }
  const tableBytes = row.table !== undefined && 'storedBytes' in row.table ? row.table.storedBytes : 0;
  if ((starts[frames] ?? 0) + tableBytes !== row.storedBytes) {
    throw new ContentDamagedError('the lengths of the frames do not add up to what is stored');
  }
  return { sizeBytes, frameBytes, frames, encrypted, start: (number) => starts[number] ?? 0 };
}
