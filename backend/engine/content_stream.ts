import { ContentMissingError } from '../data_store.ts';
import { KeyNotFoundError } from '../encryption/errors.ts';
import { contentOf, type OpenedContent } from './content_rows.ts';
import type { EngineContext } from './context.ts';
import { endStream, OwnedStream } from './owned_stream.ts';
import type { ByteRange } from './ranges.ts';
import type { PartOfContent } from './rows.ts';

interface OpenContentOptions {
  /** Undefined: there is no byte to read. */
  readonly range: ByteRange | undefined;
  /** The client's key, where the content is under one; it has been checked. */
  readonly customerKey?: Uint8Array | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * The bytes of a range, across parts where the object has them. Only the parts that the range touches are opened,
 * one at a time; the row of the next one is read while the bytes of this one flow.
 * @throws ContentMissingError before the first byte where the content isn't there, KeyNotFoundError where its key isn't;
 *   what goes missing later throws from the stream.
 */
export async function openContent(
  context: EngineContext,
  content: OpenedContent,
  options: OpenContentOptions,
): Promise<AsyncIterable<Uint8Array>> {
  const { range } = options;
  const { row } = content;
  if (range === undefined) return nothing();
  if (row.locator !== undefined) {
    const { sizeBytes, locator, sealed } = row;
    return context.vault.read(
      { contentId: content.contentId, sizeBytes, locator, sealed },
      { ...options, range: { offset: range.start, lengthBytes: range.end - range.start + 1 } },
    );
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
    const { sizeBytes, locator, sealed } = content.row;
    try {
      return await context.vault.read(
        { contentId, sizeBytes, locator, sealed },
        { ...options, range: { offset: piece.offset, lengthBytes: piece.lengthBytes } },
      );
    } catch (error) {
      if (!mayHaveMoved(error) || !fromMemory) throw error;
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

/** The place of content, and what its key is wrapped under, may have changed since its row was read. */
export function mayHaveMoved(error: unknown): boolean {
  return error instanceof ContentMissingError || error instanceof KeyNotFoundError;
}

async function* nothing(): AsyncGenerator<Uint8Array> {
  // An empty object has no bytes.
}
