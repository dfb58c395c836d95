import type { Preconditions } from '../../backend/backend.ts';
import { S3Error } from '../errors.ts';
import type { RequestHeaders } from '../http/headers.ts';

/**
 * The four conditional headers of a read, or with another prefix those of a copy's source. Dates that can't be read or
 * lie in the future are ignored, as RFC 9110 says.
 * @param options.prefix `x-amz-copy-source-` for the source of a copy.
 */
export function readPreconditions(
  headers: RequestHeaders,
  options: { readonly nowMs: number; readonly prefix?: string },
): Preconditions | undefined {
  const prefix = options.prefix ?? '';
  const ifMatch = headers.get(`${prefix}if-match`);
  const ifNoneMatch = headers.get(`${prefix}if-none-match`);
  const modified = httpDate(headers.get(`${prefix}if-modified-since`));
  const unmodified = httpDate(headers.get(`${prefix}if-unmodified-since`));
  const found: { -readonly [K in keyof Preconditions]: Preconditions[K] } = {};
  if (ifMatch !== undefined) found.ifMatch = parseETags(ifMatch);
  if (ifNoneMatch !== undefined) found.ifNoneMatch = parseETags(ifNoneMatch);
  if (modified !== undefined && modified <= options.nowMs) found.ifModifiedSinceMs = modified;
  if (unmodified !== undefined) found.ifUnmodifiedSinceMs = unmodified;
  return Object.keys(found).length === 0 ? undefined : found;
}

/**
 * Conditions of a write: `If-Match` and `If-None-Match`. S3 itself takes only `*` for the latter; an ETag means here
 * what it means in HTTP.
 * @throws S3Error NotImplemented for conditions on dates, which must not be ignored.
 */
export function writePreconditions(headers: RequestHeaders): Preconditions | undefined {
  for (const header of ['if-modified-since', 'if-unmodified-since']) {
    if (headers.has(header)) throw unsupported(header);
  }
  const ifMatch = headers.get('if-match');
  const ifNoneMatch = headers.get('if-none-match');
  if (ifMatch === undefined && ifNoneMatch === undefined) return undefined;
  return {
    ...(ifMatch === undefined ? {} : { ifMatch: parseETags(ifMatch) }),
    ...(ifNoneMatch === undefined ? {} : { ifNoneMatch: parseETags(ifNoneMatch) }),
  };
}

function unsupported(header: string): S3Error {
  return new S3Error('NotImplemented', '', { Header: header });
}

/** `"a", W/"b", c` to `a`, `b`, `c`; `*` stays. */
export function parseETags(text: string): string[] {
  const tags: string[] = [];
  for (const match of text.matchAll(/(?:W\/)?"([^"]*)"|([^\s,"]+)/g)) tags.push(match[1] ?? match[2] ?? '');
  return tags;
}

/** Milliseconds, whole seconds; undefined when it can't be read. */
export function httpDate(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const timeMs = Date.parse(text);
  return Number.isNaN(timeMs) ? undefined : Math.floor(timeMs / 1000) * 1000;
}
