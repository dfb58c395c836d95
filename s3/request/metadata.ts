import type { ObjectMetadata, SystemMetadata } from '../../backend/backend.ts';
import { S3Error } from '../errors.ts';
import type { RequestHeaders } from '../http/headers.ts';
import { decodeHeaderText, headerValue, rfc2047Decode, rfc2047Encode } from './header_text.ts';

/** Names and values of user metadata together, in bytes of UTF-8. */
const maxUserMetadataBytes = 2048;
const userPrefix = 'x-amz-meta-';

/** Request header, and the field that keeps it. */
const systemHeaders: readonly (readonly [header: string, field: keyof SystemMetadata])[] = [
  ['content-type', 'contentType'],
  ['cache-control', 'cacheControl'],
  ['content-disposition', 'contentDisposition'],
  ['content-encoding', 'contentEncoding'],
  ['content-language', 'contentLanguage'],
  ['expires', 'expires'],
  ['x-amz-website-redirect-location', 'websiteRedirectLocation'],
];

/**
 * What a request says about the object it makes.
 * @throws S3Error MetadataTooLarge, InvalidRedirectLocation
 */
export function readMetadata(headers: RequestHeaders): ObjectMetadata {
  const system: Record<string, string> = {};
  for (const [header, field] of systemHeaders) {
    const value = headers.get(header);
    if (value === undefined) continue;
    const text = header === 'content-encoding' ? withoutAwsChunked(value) : decodeHeaderText(value);
    if (field === 'websiteRedirectLocation' && !/^(?:\/|https?:\/\/)/i.test(text)) {
      throw new S3Error('InvalidRedirectLocation');
    }
    if (text !== '') system[field] = text;
  }
  const user: Record<string, string> = {};
  let sizeBytes = 0;
  for (const name of headers.map.keys()) {
    if (!name.startsWith(userPrefix)) continue;
    const shortName = name.slice(userPrefix.length);
    const value = rfc2047Decode(decodeHeaderText(headers.get(name) ?? ''));
    sizeBytes += Buffer.byteLength(shortName) + Buffer.byteLength(value);
    user[shortName] = value;
  }
  if (sizeBytes > maxUserMetadataBytes) {
    throw new S3Error('MetadataTooLarge', '', {
      Size: String(sizeBytes),
      MaxSizeAllowed: String(maxUserMetadataBytes),
    });
  }
  return { system, user };
}

/** `aws-chunked` is how the body travels; whatever else is listed describes the object. */
function withoutAwsChunked(contentEncoding: string): string {
  if (!/aws-chunked/i.test(contentEncoding)) return contentEncoding;
  return contentEncoding
    .split(',')
    .map((token) => token.trim())
    .filter((token) => token !== '' && token.toLowerCase() !== 'aws-chunked')
    .join(', ');
}

/** The headers with which an object's metadata goes back to a client. */
export function writeMetadata(metadata: ObjectMetadata, headers: Record<string, string>): void {
  for (const [header, field] of systemHeaders) {
    const value = metadata.system[field];
    if (value !== undefined) headers[header] = headerValue(value);
  }
  headers['content-type'] ??= defaultContentType;
  for (const [name, value] of Object.entries(metadata.user))
    headers[userPrefix + name] = rfc2047Encode(value);
}

/** What S3 calls content of which nothing is known. */
export const defaultContentType = 'binary/octet-stream';
