import type { RangeRequest } from '../backend.ts';
import type { ContentRow } from './rows.ts';
import { refuse } from './context.ts';

/** First and last byte, both within the object. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/** @throws BackendError InvalidRange where no byte of the object is asked for. */
export function resolveRange(range: RangeRequest, sizeBytes: number): ByteRange {
  if ('suffix' in range) {
    if (range.suffix <= 0 || sizeBytes === 0) refuseRange(sizeBytes);
    return { start: Math.max(0, sizeBytes - range.suffix), end: sizeBytes - 1 };
  }
  if (range.start >= sizeBytes || range.start < 0 || (range.end !== undefined && range.end < range.start)) {
    refuseRange(sizeBytes);
  }
  return { start: range.start, end: Math.min(range.end ?? sizeBytes - 1, sizeBytes - 1) };
}

/**
 * Where the part with this number lies; undefined for the only part of an object that is empty.
 * @throws BackendError InvalidPart where there is no such part.
 */
export function resolvePart(content: ContentRow, partNumber: number): ByteRange | undefined {
  let start = 0;
  for (const part of content.parts ?? [{ partNumber: 1, sizeBytes: content.sizeBytes }]) {
    if (part.partNumber === partNumber) {
      return part.sizeBytes === 0 ? undefined : { start, end: start + part.sizeBytes - 1 };
    }
    start += part.sizeBytes;
  }
  return refuse('InvalidPart', 'The requested partnumber is not satisfiable', {
    PartNumberRequested: String(partNumber),
    ActualPartCount: String(content.parts?.length ?? 1),
  });
}

function refuseRange(sizeBytes: number): never {
  return refuse('InvalidRange', 'The requested range is not satisfiable', {
    ActualObjectSize: String(sizeBytes),
  });
}
