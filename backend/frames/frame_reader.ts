import { decompressFrame } from '../compression/zstd.ts';
import { ContentDamagedError, type ContentRange } from '../data_store.ts';
import { SealDamagedError } from '../encryption/errors.ts';
import { tagBytes, type FrameCipher } from '../encryption/frame_cipher.ts';
import { endStream, OwnedStream } from '../engine/owned_stream.ts';
import { fixedLayout, tableLayout, type FrameLayout } from './frame_table.ts';
import { plainLength } from './geometry.ts';
import type { SealedRow } from './sealed_row.ts';

/** Reads a range of what is stored. */
export type ReadStored = (range: ContentRange) => Promise<AsyncIterable<Uint8Array>>;

export interface SealedContent {
  readonly sizeBytes: number;
  readonly row: SealedRow;
  /** Present where the row has a key. */
  readonly cipher: FrameCipher | undefined;
  readonly read: ReadStored;
}

/**
 * A range of the content; only the frames that it touches are read, and no byte of a frame comes out before all of it
 * was checked. `range` must lie within the content and hold a byte.
 * @throws ContentDamagedError, here or from the stream, and whatever reading throws.
 */
export async function readFrames(
  content: SealedContent,
  range: ContentRange,
): Promise<AsyncIterable<Uint8Array>> {
  const layout = await layoutOf(content);
  const first = Math.floor(range.offset / layout.frameBytes);
  const last = Math.floor((range.offset + range.lengthBytes - 1) / layout.frameBytes);
  const offset = layout.start(first);
  const stored = await content.read({ offset, lengthBytes: layout.start(last + 1) - offset });
  const plain = openFrames(stored, { content, layout, range, first, last });
  return new OwnedStream(plain, () => endStream(stored));
}

async function layoutOf(content: SealedContent): Promise<FrameLayout> {
  const { sizeBytes, row } = content;
  const { table } = row;
  if (table === undefined) return fixedLayout(sizeBytes, row);
  if ('lengths' in table) return tableLayout(sizeBytes, row, table.lengths);
  const lengthBytes = table.storedBytes;
  if (lengthBytes < 1 || lengthBytes > row.storedBytes) {
    throw new ContentDamagedError(`a table of ${lengthBytes} bytes can't be in ${row.storedBytes}`);
  }
  const stored: Uint8Array[] = [];
  for await (const piece of await content.read({ offset: row.storedBytes - lengthBytes, lengthBytes })) {
    stored.push(piece);
  }
  const frames = Math.ceil(sizeBytes / row.frameBytes);
  const place = { number: frames, last: true, compressed: false, table: true };
  const lengths =
    content.cipher === undefined ? stored : opened(() => content.cipher?.open(stored, place) ?? []);
  return tableLayout(sizeBytes, row, Buffer.concat(lengths));
}

interface FrameRun {
  readonly content: SealedContent;
  readonly layout: FrameLayout;
  readonly range: ContentRange;
  readonly first: number;
  readonly last: number;
}

async function* openFrames(stored: AsyncIterable<Uint8Array>, run: FrameRun): AsyncGenerator<Uint8Array> {
  const { layout, range } = run;
  const end = range.offset + range.lengthBytes;
  let number = run.first;
  let missing = layout.start(number + 1) - layout.start(number);
  let pieces: Uint8Array[] = [];
  for await (const piece of stored) {
    for (let at = 0; at < piece.length;) {
      if (number > run.last) throw new ContentDamagedError('more was stored than the frames of the range');
      const part = piece.subarray(at, at + missing);
      pieces.push(part);
      at += part.length;
      missing -= part.length;
      if (missing > 0) continue;
      let position = number * layout.frameBytes;
      for (const plain of await openFrame(pieces, { run, number })) {
        const from = Math.max(0, range.offset - position);
        const to = Math.min(plain.length, end - position);
        if (from < to) yield plain.subarray(from, to);
        position += plain.length;
      }
      pieces = [];
      number++;
      missing = layout.start(number + 1) - layout.start(number);
    }
  }
  if (number <= run.last) throw new ContentDamagedError('less is stored than the frames of the range');
}

/** The frame's bytes, all of them checked. */
async function openFrame(
  stored: readonly Uint8Array[],
  frame: { readonly run: FrameRun; readonly number: number },
): Promise<readonly Uint8Array[]> {
  const { layout, content } = frame.run;
  const { number } = frame;
  const length = plainLength(number, layout);
  const full = length + (layout.encrypted ? tagBytes : 0);
  const compressed = layout.start(number + 1) - layout.start(number) < full;
  const place = { number, last: number === layout.frames - 1, compressed };
  const { cipher } = content;
  if (layout.encrypted && cipher === undefined) throw new Error('encrypted frames were opened without a key');
  const bytes = cipher === undefined ? stored : opened(() => cipher.open(stored, place));
  if (!compressed) return bytes;
  const [only, ...others] = bytes;
  try {
    return [
      await decompressFrame(only !== undefined && others.length === 0 ? only : Buffer.concat(bytes), length),
    ];
  } catch (cause) {
    throw new ContentDamagedError(`frame ${number} of the content can't be decompressed`, { cause });
  }
}

function opened<T>(open: () => T): T {
  try {
    return open();
  } catch (error) {
    if (error instanceof SealDamagedError) throw new ContentDamagedError(error.message, { cause: error });
    throw error;
  }
}
