import type { EngineContext } from './context.ts';
import { partKey, partNumberOf, partsPrefix } from './row_keys.ts';
import { decodePart, type PartRow } from './rows.ts';
import type { ReadRow } from './targets.ts';

export interface NumberedPart extends ReadRow<PartRow> {
  readonly partNumber: number;
}

/** One page of an upload's parts, in order of their numbers. */
export async function scanParts(
  context: EngineContext,
  uploadId: Uint8Array,
  page: { readonly after: number; readonly limit: number },
): Promise<{ readonly parts: readonly NumberedPart[]; readonly more: boolean }> {
  const { items, truncated } = await context.state.scan({
    table: 'parts',
    prefix: partsPrefix(uploadId),
    limit: page.limit,
    ...(page.after < 1 ? {} : { startAfter: partKey(uploadId, page.after) }),
  });
  return {
    parts: items.map(({ key, value }) => ({
      key,
      bytes: value,
      row: decodePart(value),
      partNumber: partNumberOf(key),
    })),
    more: truncated,
  };
}

/** All of an upload's parts, at most 10,000 small rows. */
export async function readAllParts(
  context: EngineContext,
  uploadId: Uint8Array,
): Promise<ReadonlyMap<number, NumberedPart>> {
  const all = new Map<number, NumberedPart>();
  for (let after = 0, more = true; more;) {
    const page = await scanParts(context, uploadId, { after, limit: 1000 });
    for (const part of page.parts) all.set(part.partNumber, part);
    more = page.more;
    after = page.parts.at(-1)?.partNumber ?? after;
  }
  return all;
}
