import { ContentMissingError } from '../data_store.ts';
import { contentOf } from './content_rows.ts';
import type { EngineContext } from './context.ts';
import { endStream, OwnedStream } from './owned_stream.ts';
import type { ByteRange } from './ranges.ts';
import type { ContentRow, PartOfContent } from './rows.ts';

interface OpenContentOptions {
  /** Undefined: there is no byte to read. */
  readonly range: ByteRange | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * The bytes of a range, across parts where the object has them. Only the parts that the range touches are opened,
 * one at a time; the row of the next one is read while the bytes of this one flow.
 * @throws ContentMissingError before the first byte where the content isn't there; what goes missing later throws
 *   from the stream.
 */
export async function openContent(
  context: EngineContext,
  row: ContentRow,
  options: OpenContentOptions,
): Promise<AsyncIterable<Uint8Array>> {
  const { range } = options;
  if (range === undefined) return nothing();
  if (row.locator !== undefined) {
    return context.data.read(row.locator, {
      range: { offset: range.start, lengthBytes: range.end - range.start + 1 },
      ...signalOf(options),
    });
  }
  const pieces = piecesOf(row.parts ?? [], range);
  const [first] = pieces;
  if (first === undefined) throw new Error('the parts of the content do not cover the range');
  const opened = await openPiece(context, first, options);
  return new OwnedStream(readPieces(context, pieces, { ...options, opened }), () => endStream(opened));
}

/** What of one part a range touches. */
interface Piece {
  readonly part: PartOfContent;
  readonly offset: number;
  readonly lengthBytes: number;
}

async function* readPieces(
  context: EngineContext,
  pieces: readonly Piece[],
  options: OpenContentOptions & { readonly opened: AsyncIterable<Uint8Array> },
): AsyncGenerator<Uint8Array> {
  for (const [i, piece] of pieces.entries()) {
    const next = pieces[i + 1];
    if (next !== undefined) readAhead(context, next);
    yield* i === 0 ? options.opened : await openPiece(context, piece, options);
  }
}

/** Puts the row of the part into the cache. A failure shows again, and is dealt with, when the part is opened. */
function readAhead(context: EngineContext, piece: Piece): void {
  contentOf(context, piece.part.contentId).catch((error: unknown) => {
    context.logger.debug({ err: error }, 'reading a part row ahead failed');
  });
}

async function openPiece(
  context: EngineContext,
  piece: Piece,
  options: OpenContentOptions,
): Promise<AsyncIterable<Uint8Array>> {
  const { contentId } = piece.part;
  for (const fromMemory of [true, false]) {
    if (!fromMemory) context.contents.forget(contentId);
    const content = await contentOf(context, contentId);
    if (content?.row.locator === undefined) break;
    try {
      return await context.data.read(content.row.locator, {
        range: { offset: piece.offset, lengthBytes: piece.lengthBytes },
        ...signalOf(options),
      });
    } catch (error) {
      // Its place may have changed since the row was read.
      if (!(error instanceof ContentMissingError) || !fromMemory) throw error;
    }
  }
  throw new ContentMissingError(`part ${Buffer.from(contentId).toString('hex')} has no content`);
}

function piecesOf(parts: readonly PartOfContent[], range: ByteRange): Piece[] {
  const pieces: Piece[] = [];
  let partStart = 0;
  for (const part of parts) {
    const from = Math.max(range.start, partStart);
    const to = Math.min(range.end, partStart + part.sizeBytes - 1);
    if (from <= to) pieces.push({ part, offset: from - partStart, lengthBytes: to - from + 1 });
    partStart += part.sizeBytes;
    if (partStart > range.end) break;
  }
  return pieces;
}

function signalOf(options: OpenContentOptions): { readonly signal?: AbortSignal } {
  return options.signal === undefined ? {} : { signal: options.signal };
}

async function* nothing(): AsyncGenerator<Uint8Array> {
  // An empty object has no bytes.
}
