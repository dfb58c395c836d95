/**
 * The canonical form of a request that AWS Signature Version 4 signs.
 *
 * Everything works on the bytes as sent. Node hands request targets and header values over as Latin-1 strings,
 * one character a byte; that is what is undone here. A string with characters above U+00FF cannot have come from
 * the wire and is taken as UTF-8.
 *
 * Source: "Create a signed AWS API request" (IAM user guide) and "Signature Calculations for the Authorization
 * Header" (S3 API reference).
 */

const unreservedTarget = /^[A-Za-z0-9\-._~/]*$/;
const unreserved = /^[A-Za-z0-9\-._~]*$/;
const beyondLatin1 = /[^\u0000-\u00ff]/;
/** What may stand in a header's value; not `\s`, which would fold the second byte of `à`. */
const whitespace = /[ \t]+/g;

const encodedByte: readonly string[] = Array.from({ length: 256 }, (_, byte) => {
  const character = String.fromCharCode(byte);
  return unreserved.test(character) ? character : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
});

const percent = 0x25;
const plus = 0x2b;
const slash = 0x2f;
const space = 0x20;

/** The bytes a string from the wire stands for. */
export function wireBytes(text: string): Buffer {
  return Buffer.from(text, beyondLatin1.test(text) ? 'utf8' : 'latin1');
}

/** The value of a hexadecimal digit, or -1. */
function hexDigit(byte: number | undefined): number {
  if (byte === undefined) return -1;
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

/**
 * Undoes percent-encoding. A `%` without two hexadecimal digits stands for itself, so nothing is refused here;
 * whoever turns the bytes into a key decides what is valid.
 */
function decodePercent(text: string, options: { plusIsSpace: boolean }): Buffer {
  const bytes = wireBytes(text);
  let length = 0;
  for (let at = 0; at < bytes.length; at += 1) {
    let byte = bytes[at] ?? 0;
    if (byte === percent) {
      const high = hexDigit(bytes[at + 1]);
      const low = hexDigit(bytes[at + 2]);
      if (high >= 0 && low >= 0) {
        byte = high * 16 + low;
        at += 2;
      }
    } else if (byte === plus && options.plusIsSpace) {
      byte = space;
    }
    bytes[length] = byte;
    length += 1;
  }
  return bytes.subarray(0, length);
}

/** Encodes every byte but RFC 3986's unreserved ones, and `/` where asked. */
function encodePercent(bytes: Uint8Array, options: { keepSlash: boolean }): string {
  let text = '';
  for (const byte of bytes) {
    text += byte === slash && options.keepSlash ? '/' : (encodedByte[byte] ?? '');
  }
  return text;
}

/**
 * The canonical URI.
 *
 * For `s3` a key is opaque: the path is encoded exactly once, whatever the client left unencoded, and neither dots
 * nor repeated slashes are touched; `+` is a plus. Every other service normalises the path and encodes what is on
 * the wire a second time.
 */
export function canonicalPath(rawPath: string, service: string): string {
  if (service === 's3') {
    if (rawPath !== '' && unreservedTarget.test(rawPath)) return rawPath;
    const path = encodePercent(decodePercent(rawPath, { plusIsSpace: false }), { keepSlash: true });
    return path.startsWith('/') ? path : `/${path}`;
  }
  const segments: string[] = [];
  for (const segment of rawPath.replace(/\/{2,}/g, '/').split('/')) {
    if (segment === '..') segments.pop();
    else if (segment !== '.') segments.push(encodePercent(wireBytes(segment), { keepSlash: false }));
  }
  const path = segments.join('/');
  return path.startsWith('/') ? path : `/${path}`;
}

/** One decoded query parameter; values are UTF-8 with malformed bytes replaced. */
export interface QueryParameter {
  readonly name: string;
  readonly value: string;
}

interface EncodedParameter {
  readonly name: string;
  readonly value: string;
}

function* splitQuery(rawQuery: string): Generator<{ name: string; value: string }> {
  for (const part of rawQuery.split('&')) {
    if (part === '') continue;
    const at = part.indexOf('=');
    yield at < 0 ? { name: part, value: '' } : { name: part.slice(0, at), value: part.slice(at + 1) };
  }
}

/**
 * The parameters in the order sent, as the signature understands them: `+` is a space, as in S3, and a parameter
 * without `=` has an empty value. Handlers that read the query should read it through this, so that nothing is
 * understood differently from how it was signed.
 */
export function queryParameters(rawQuery: string): QueryParameter[] {
  return Array.from(splitQuery(rawQuery), ({ name, value }) => ({
    name: decodePercent(name, { plusIsSpace: true }).toString('utf8'),
    value: decodePercent(value, { plusIsSpace: true }).toString('utf8'),
  }));
}

function encodeParameterText(text: string): string {
  return unreserved.test(text)
    ? text
    : encodePercent(decodePercent(text, { plusIsSpace: true }), { keepSlash: false });
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** The canonical query string: sorted by encoded name, then value. `X-Amz-Signature` is left out where asked. */
export function canonicalQuery(rawQuery: string, options: { omitSignature: boolean }): string {
  if (rawQuery === '') return '';
  const parameters: EncodedParameter[] = [];
  for (const { name, value } of splitQuery(rawQuery)) {
    const encodedName = encodeParameterText(name);
    if (options.omitSignature && encodedName.toLowerCase() === 'x-amz-signature') continue;
    parameters.push({ name: encodedName, value: encodeParameterText(value) });
  }
  parameters.sort((a, b) => compareText(a.name, b.name) || compareText(a.value, b.value));
  return parameters.map(({ name, value }) => `${name}=${value}`).join('&');
}

/** A header's value with runs of whitespace folded into one space and none at either end. */
function foldWhitespace(value: string): string {
  const folded = value.replace(whitespace, ' ');
  const start = folded.startsWith(' ') ? 1 : 0;
  const end = folded.length > start && folded.endsWith(' ') ? folded.length - 1 : folded.length;
  return folded.slice(start, end);
}

/** The line of one signed header, without its line end. Repeated headers are joined by a comma. */
export function canonicalHeader(name: string, values: readonly string[]): string {
  return `${name}:${values.map(foldWhitespace).join(',')}`;
}
