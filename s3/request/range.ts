import type { RangeRequest } from '../../backend/backend.ts';

/**
 * A Range header as S3 reads it: one range of bytes. Several ranges, other units and malformed ones are ignored, which
 * gives the whole object.
 */
export function parseRange(text: string | undefined): RangeRequest | undefined {
  const match = text === undefined ? null : /^bytes\s*=\s*(\d*)\s*-\s*(\d*)$/i.exec(text.trim());
  if (match === null) return undefined;
  const [, first = '', last = ''] = match;
  if (first === '') return last === '' ? undefined : { suffix: bounded(last) };
  const start = bounded(first);
  if (last === '') return { start };
  const end = bounded(last);
  return end < start ? undefined : { start, end };
}

/** Beyond what can be counted exactly lies no object. */
function bounded(digits: string): number {
  return Math.min(Number(digits), Number.MAX_SAFE_INTEGER);
}
