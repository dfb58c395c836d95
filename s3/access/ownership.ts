import type { Bucket, DecideOwnership, Owner } from '../../backend/backend.ts';
import { S3Error } from '../errors.ts';
import type { Caller } from '../exchange.ts';
import type { AskedAcl } from '../request/acl_request.ts';
import { cannedAcl, encodeAcl, isPublicAcl, type Acl } from './acl.ts';
import { hasAcls, isBlocked, ownershipSetting } from './bucket_access.ts';

/** Whom the backend is told to be writing where nobody is; never stored, since the bucket's owner gets what they write. */
const nobody: Owner = { id: 'anonymous', displayName: 'anonymous' };

/** Who writes an object. */
export function writerOf(caller: Caller): Owner {
  return caller.kind === 'signed' ? caller.owner : nobody;
}

/**
 * Whose a new object is and what its ACL grants, by the bucket's object ownership:
 *
 * - `BucketOwnerEnforced`: the bucket owner's, without an ACL.
 * - `BucketOwnerPreferred`: the bucket owner's if written with `bucket-owner-full-control`, else the writer's.
 * - `ObjectWriter`, and where nothing is set: the writer's.
 *
 * What nobody in particular writes is the bucket owner's: somebody must be able to manage it.
 * @throws S3Error AccessControlListNotSupported, or AccessDenied where the bucket blocks public ACLs.
 */
export function decideOwnership(caller: Caller, asked: AskedAcl | undefined): DecideOwnership {
  return (bucket) => {
    const rule = ownershipSetting(bucket);
    if (rule === 'BucketOwnerEnforced') {
      if (asked !== undefined && !givesBucketOwnerAll(asked, bucket))
        throw new S3Error('AccessControlListNotSupported');
      return { owner: bucket.owner };
    }
    const givesAway =
      rule === 'BucketOwnerPreferred' && asked !== undefined && givesBucketOwnerAll(asked, bucket);
    const owner = givesAway || caller.kind === 'anonymous' ? bucket.owner : caller.owner;
    if (asked === undefined) return { owner };
    const acl = encodeAcl(objectAcl(asked, { bucket, owner }), owner.id);
    return { owner, ...(acl === undefined ? {} : { acl }) };
  };
}

/** The ACL of an object that a request asks for. @throws S3Error AccessDenied where the bucket blocks public ACLs. */
export function objectAcl(asked: AskedAcl, of: { readonly bucket: Bucket; readonly owner: Owner }): Acl {
  const acl =
    'grants' in asked
      ? asked.grants
      : cannedAcl(asked.canned, { owner: of.owner, bucketOwner: of.bucket.owner });
  if (isBlocked(of.bucket, 'BlockPublicAcls') && isPublicAcl(acl)) throw new S3Error('AccessDenied');
  return acl;
}

/** @throws S3Error AccessControlListNotSupported */
export function requireAcls(bucket: Bucket): void {
  if (!hasAcls(bucket)) throw new S3Error('AccessControlListNotSupported');
}

function givesBucketOwnerAll(asked: AskedAcl, bucket: Bucket): boolean {
  if ('canned' in asked) return asked.canned === 'bucket-owner-full-control';
  const [only] = asked.grants;
  return (
    asked.grants.length === 1 &&
    only?.permission === 'FULL_CONTROL' &&
    'account' in only.grantee &&
    only.grantee.account === bucket.owner.id
  );
}
