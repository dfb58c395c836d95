import { S3Error } from '../errors.ts';

const plainAscii = /^[\u0020-\u0024\u0026-\u007e]*$/;

/**
 * Undoes percent-encoding once. Whatever isn't valid UTF-8 or a valid escape is refused: an approximation would be
 * another key.
 * @throws S3Error InvalidURI
 */
export function decodePercent(raw: string): string {
  if (plainAscii.test(raw)) return raw;
  try {
    return decodeURIComponent(raw);
  } catch {
    throw new S3Error('InvalidURI');
  }
}

/** Like `decodePercent`, for query strings and `x-amz-copy-source`, where `+` is a space. */
export function decodeForm(raw: string): string {
  return decodePercent(raw.includes('+') ? raw.replaceAll('+', ' ') : raw);
}

const unescapedInListing = /[!'()]/g;

/** `encoding-type=url`: UTF-8 bytes in percent-encoding but for unreserved characters, `/` and `*`; a space is `%20`. */
export function encodeForListing(text: string): string {
  return encodeURIComponent(text)
    .replace(unescapedInListing, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`)
    .replaceAll('%2F', '/');
}
