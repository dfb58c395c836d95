import type { BucketInfo, Owner } from '../../backend/backend.ts';
import { BackendError } from '../../backend/errors.ts';

/** Administrators administer; objects still belong to accounts. @throws BackendError AccessDenied */
export function ownBucket(owner: Owner, bucket: BucketInfo): void {
  if (bucket.owner.id !== owner.id)
    throw new BackendError('AccessDenied', 'the bucket belongs to another account');
}
