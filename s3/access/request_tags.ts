import type { RequestHeaders } from '../http/headers.ts';

const none: ReadonlyMap<string, string> = new Map();

/**
 * The tags that `x-amz-tagging` gives an object, for policies to look at: in the form of a query. What isn't
 * well-formed is none here; the operation refuses it.
 */
export function headerTags(headers: RequestHeaders): ReadonlyMap<string, string> {
  const text = headers.get('x-amz-tagging');
  return text === undefined ? none : new Map(new URLSearchParams(text));
}
