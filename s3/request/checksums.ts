import type { Checksum, ChecksumAlgorithm, ChecksumType } from '../../backend/backend.ts';
import { CHECKSUM_BYTES } from '../../backend/checksums/checksums.ts';
import { S3Error } from '../errors.ts';
import type { RequestHeaders } from '../http/headers.ts';
import { element } from '../xml/write.ts';

export const checksumAlgorithms: readonly ChecksumAlgorithm[] = [
  'CRC32',
  'CRC32C',
  'CRC64NVME',
  'SHA1',
  'SHA256',
];

/** `x-amz-checksum-crc32` and its like. */
export function checksumHeader(algorithm: ChecksumAlgorithm): string {
  return `x-amz-checksum-${algorithm.toLowerCase()}`;
}

const algorithmOfHeader: ReadonlyMap<string, ChecksumAlgorithm> = new Map(
  checksumAlgorithms.map((algorithm) => [checksumHeader(algorithm), algorithm]),
);

/** What a request says about the checksum of its body. */
interface DeclaredChecksum {
  readonly algorithm: ChecksumAlgorithm;
  /** Base64; undefined when it comes in the trailer. */
  readonly value?: string;
}

/**
 * Finds the one checksum that a body comes with, in the headers or announced by `x-amz-trailer`.
 * @throws S3Error InvalidRequest when there are several, or the announced one isn't there or can't be one.
 */
export function declaredChecksum(headers: RequestHeaders): DeclaredChecksum | undefined {
  const found: DeclaredChecksum[] = [];
  for (const [name, algorithm] of algorithmOfHeader) {
    const value = headers.get(name);
    if (value === undefined) {
      if (headers.has(name)) throw invalidValue(name);
      continue;
    }
    found.push({ algorithm, value: checkedChecksum(algorithm, value) });
  }
  for (const trailer of (headers.get('x-amz-trailer') ?? '').split(',')) {
    const algorithm = algorithmOfHeader.get(trailer.trim().toLowerCase());
    if (algorithm !== undefined) found.push({ algorithm });
  }
  if (found.length > 1) {
    throw new S3Error(
      'InvalidRequest',
      'Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.',
    );
  }
  const [declared] = found;
  const named = headers.get('x-amz-sdk-checksum-algorithm');
  if (named !== undefined) {
    const algorithm = parseAlgorithm(named);
    if (declared === undefined) {
      throw new S3Error(
        'InvalidRequest',
        'x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were ' +
          'found.',
      );
    }
    if (declared.algorithm !== algorithm) {
      throw new S3Error('InvalidRequest', 'Value for x-amz-sdk-checksum-algorithm header is invalid.');
    }
  }
  return declared;
}

/** @throws S3Error InvalidRequest unless it is one of S3's five. */
export function parseAlgorithm(text: string): ChecksumAlgorithm {
  const upper = text.toUpperCase();
  const algorithm = checksumAlgorithms.find((name) => name === upper);
  if (algorithm !== undefined) return algorithm;
  throw new S3Error(
    'InvalidRequest',
    'Checksum algorithm provided is unsupported. Please try again with any of the valid types: ' +
      `[${checksumAlgorithms.join(', ')}]`,
  );
}

/** @throws S3Error InvalidRequest unless it is absent or one of the two. */
export function parseChecksumType(text: string | undefined): ChecksumType | undefined {
  const upper = text?.toUpperCase();
  if (upper === undefined || upper === 'FULL_OBJECT' || upper === 'COMPOSITE') return upper;
  throw new S3Error('InvalidRequest', 'Value for x-amz-checksum-type header is invalid.');
}

/** @throws S3Error InvalidRequest unless it is base64 of the algorithm's length. */
export function checkedChecksum(algorithm: ChecksumAlgorithm, value: string): string {
  if (!isBase64Of(value, CHECKSUM_BYTES[algorithm])) throw invalidValue(checksumHeader(algorithm));
  return value;
}

function invalidValue(header: string): S3Error {
  return new S3Error('InvalidRequest', `Value for ${header} header is invalid.`);
}

function isBase64Of(value: string, sizeBytes: number): boolean {
  const bytes = Buffer.from(value, 'base64');
  return bytes.length === sizeBytes && bytes.toString('base64') === value;
}

/**
 * 16 bytes of `Content-MD5`.
 * @throws S3Error InvalidDigest
 */
export function contentMd5(headers: RequestHeaders): Uint8Array | undefined {
  if (!headers.has('content-md5')) return undefined;
  const value = headers.get('content-md5') ?? '';
  if (!isBase64Of(value, 16)) throw new S3Error('InvalidDigest', '', { 'Content-MD5': value });
  return Buffer.from(value, 'base64');
}

/** The headers of an answer that tell a checksum. */
export function writeChecksum(checksum: Checksum | undefined, headers: Record<string, string>): void {
  if (checksum === undefined) return;
  headers[checksumHeader(checksum.algorithm)] = checksum.value;
  headers['x-amz-checksum-type'] = checksum.type;
}

/** The elements of an answer that tell a checksum: `<ChecksumCRC32>` and, where it applies, `<ChecksumType>`. */
export function checksumElements(
  checksum: Checksum | undefined,
  options: { readonly type: boolean } = { type: true },
): string {
  if (checksum === undefined) return '';
  return (
    element(`Checksum${checksum.algorithm}`, checksum.value) +
    (options.type ? element('ChecksumType', checksum.type) : '')
  );
}
