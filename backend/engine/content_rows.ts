import type { EngineContext } from './context.ts';
import { decodeContent, type ContentRow } from './rows.ts';

export interface OpenedContent {
  readonly contentId: Uint8Array;
  readonly row: ContentRow;
}

/** The content row under an id, from memory if it was read lately; undefined when there is none. */
export async function contentOf(
  context: EngineContext,
  contentId: Uint8Array,
): Promise<OpenedContent | undefined> {
  const known = context.contents.get(contentId);
  if (known !== undefined) return { contentId, row: known };
  const bytes = await context.state.get('objects', contentId);
  if (bytes === undefined) return undefined;
  const row = decodeContent(bytes);
  context.contents.set(contentId, row);
  return { contentId, row };
}
