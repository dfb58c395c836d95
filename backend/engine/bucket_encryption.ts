import type { Bucket, EncryptionRequest } from '../backend.ts';
import { CorruptRecordError } from './record.ts';

/** What PutBucketEncryption sets: how objects are encrypted for which nobody says anything else. */
export type BucketEncryption =
  | { readonly type: 'AES256' }
  | { readonly type: 'aws:kms'; readonly keyId?: string; readonly bucketKey?: boolean };

export function encodeBucketEncryption(encryption: BucketEncryption): string {
  return JSON.stringify(encryption);
}

/** @throws CorruptRecordError */
export function bucketEncryption(bucket: Pick<Bucket, 'settings'>): BucketEncryption | undefined {
  const text = bucket.settings.get('encryption');
  return text === undefined ? undefined : parseBucketEncryption(text);
}

/** @throws CorruptRecordError */
export function parseBucketEncryption(text: string): BucketEncryption {
  const value: unknown = JSON.parse(text);
  if (typeof value !== 'object' || value === null)
    throw new CorruptRecordError("a bucket's encryption is no object");
  const { type, keyId, bucketKey } = value as Readonly<Record<string, unknown>>;
  if (type === 'AES256') return { type };
  if (
    type !== 'aws:kms' ||
    !(keyId === undefined || typeof keyId === 'string') ||
    !(bucketKey === undefined || typeof bucketKey === 'boolean')
  ) {
    throw new CorruptRecordError("a bucket's encryption is none that is known");
  }
  return {
    type,
    ...(keyId === undefined ? {} : { keyId }),
    ...(bucketKey === undefined ? {} : { bucketKey }),
  } satisfies EncryptionRequest;
}
