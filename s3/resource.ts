import { S3Error } from './errors.ts';
import { decodePercent } from './http/percent.ts';

export type ResourceLevel = 'service' | 'bucket' | 'object';

/** What a request is about. */
export interface Resource {
  readonly level: ResourceLevel;
  /** Empty at service level. */
  readonly bucket: string;
  /** Empty but at object level. */
  readonly key: string;
  /** The bucket is asked for as a website. */
  readonly website?: boolean;
}

/** Longest key in bytes of UTF-8. */
const maxKeyBytes = 1024;

/**
 * Finds bucket and key. Keys are opaque: whatever follows the bucket's slash is the key, so `/bucket//k` is about `/k`
 * and `/bucket/../x` about `../x`.
 * @throws S3Error InvalidURI, InvalidBucketName, InvalidArgument (NUL) or KeyTooLongError.
 */
export function parseResource(
  rawPath: string,
  options: {
    readonly host: string | undefined;
    readonly domain?: string | undefined;
    readonly websiteDomain?: string | undefined;
  },
): Resource {
  const site = virtualHostBucket(options.host, options.websiteDomain);
  if (site !== undefined) return { ...resourceOf(site, rawPath.slice(1)), website: true };
  const hosted = virtualHostBucket(options.host, options.domain);
  if (hosted !== undefined) return resourceOf(hosted, rawPath.slice(1));
  const at = rawPath.indexOf('/', 1);
  const rawBucket = at < 0 ? rawPath.slice(1) : rawPath.slice(1, at);
  const rawKey = at < 0 ? '' : rawPath.slice(at + 1);
  if (rawBucket === '') {
    if (rawKey === '' && at < 0) return { level: 'service', bucket: '', key: '' };
    throw new S3Error('InvalidBucketName', '', { BucketName: '' });
  }
  return resourceOf(decodePercent(rawBucket), rawKey);
}

function resourceOf(bucket: string, rawKey: string): Resource {
  if (bucket.includes('\0')) throw new S3Error('InvalidBucketName');
  const key = decodePercent(rawKey);
  if (key === '') return { level: 'bucket', bucket, key: '' };
  checkKey(key);
  return { level: 'object', bucket, key };
}

/** @throws S3Error KeyTooLongError or InvalidArgument */
export function checkKey(key: string): void {
  if (key.includes('\0')) {
    throw new S3Error('InvalidArgument', 'Object keys must not contain a null character.', {
      ArgumentName: 'key',
    });
  }
  const sizeBytes = key.length > maxKeyBytes ? Infinity : Buffer.byteLength(key);
  if (sizeBytes > maxKeyBytes) {
    throw new S3Error('KeyTooLongError', '', {
      Size: String(Buffer.byteLength(key)),
      MaxSizeAllowed: String(maxKeyBytes),
    });
  }
}

/** The bucket that the Host header names below `domain`; undefined for path style. */
function virtualHostBucket(host: string | undefined, domain: string | undefined): string | undefined {
  if (domain === undefined || domain === '' || host === undefined) return undefined;
  const name = host.replace(/:\d+$/, '').toLowerCase();
  const suffix = `.${domain.toLowerCase()}`;
  return name.length > suffix.length && name.endsWith(suffix) ? name.slice(0, -suffix.length) : undefined;
}
