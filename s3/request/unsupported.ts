import { S3Error } from '../errors.ts';
import type { RequestHeaders } from '../http/headers.ts';

/** Features that would change what is stored, and the values with which their headers ask for nothing. */
const features: readonly { readonly header: string; readonly harmless?: readonly string[] }[] = [
  { header: 'x-amz-tagging' },
  { header: 'x-amz-write-offset-bytes' },
  { header: 'x-amz-rename-source' },
  { header: 'x-amz-bucket-object-lock-enabled', harmless: ['false', 'False'] },
];

/** Families of headers, refused whatever they say. */
const families: readonly string[] = ['x-amz-object-lock-'];

/**
 * Refuses what isn't there yet instead of storing something else than was asked for.
 * @throws S3Error NotImplemented, naming the header.
 */
export function refuseUnsupportedFeatures(headers: RequestHeaders): void {
  for (const { header, harmless } of features) {
    const value = headers.get(header);
    if (value !== undefined && harmless?.includes(value) !== true) throw notImplemented(header);
  }
  for (const name of headers.map.keys()) {
    if (name.startsWith('x-amz-') && families.some((family) => name.startsWith(family)))
      throw notImplemented(name);
  }
}

function notImplemented(header: string): S3Error {
  return new S3Error('NotImplemented', '', { Header: header });
}
