import { S3Error } from '../errors.ts';
import type { RequestHeaders } from '../http/headers.ts';

/** Headers that ask for something else to be stored than what would be. */
const features: readonly string[] = ['x-amz-write-offset-bytes', 'x-amz-rename-source'];

/**
 * Refuses what isn't there yet instead of storing something else than was asked for.
 * @throws S3Error NotImplemented, naming the header.
 */
export function refuseUnsupportedFeatures(headers: RequestHeaders): void {
  for (const header of features) {
    if (headers.has(header)) throw new S3Error('NotImplemented', '', { Header: header });
  }
}
