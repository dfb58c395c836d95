import { evaluatePolicy } from '../../auth/bucket_policy/evaluate.ts';
import type { ConditionValues } from '../../auth/bucket_policy/conditions.ts';
import { isPublicPolicy } from '../../auth/bucket_policy/public_policy.ts';
import type { Credential } from '../../auth/credentials.ts';
import { isGranted } from '../../auth/policy.ts';
import type { Bucket, ExistingObject } from '../../backend/backend.ts';
import { decodeAcl, grantsPermission, isPublicGrant, type Acl, type Permission } from './acl.ts';
import { belongsToObjectOwner, policyActions } from './actions.ts';
import { bucketAcl, hasAcls, isBlocked } from './bucket_access.ts';
import { isRoot, principalOf } from './identity.ts';
import type { Policies } from './policies.ts';

/** One question: may this caller do this? */
export interface AccessQuestion {
  /** Undefined: anonymous. */
  readonly credential: Credential | undefined;
  /** `s3:GetObject` */
  readonly action: string;
  readonly bucket: Bucket;
  /** Empty: it is about the bucket itself. */
  readonly key: string;
  readonly object: ExistingObject | undefined;
  readonly values: ConditionValues;
}

/**
 * The whole evaluation, in this order:
 *
 * 1. A `Deny` of the bucket policy ends it, for everybody. Only the root of the bucket's own account can always read,
 *    replace and delete the policy itself.
 * 2. The account that owns what is asked for (the bucket, or for an object's content and ACL the object) may do what
 *    the key's own policy grants.
 * 3. An `Allow` of the bucket policy: for keys of the bucket's own account if it names them or everybody; for keys of
 *    other accounts if their own policy grants it too; for anonymous callers if it names everybody. It doesn't reach
 *    into objects that another account owns.
 * 4. An ACL, where the bucket has ACLs: what it gives everybody, and what it gives the caller's account as far as the
 *    key's own policy grants it.
 *
 * Everything else is refused. The public access block takes away from 3 and 4 what is public.
 */
export function isAllowed(question: AccessQuestion, policies: Policies): boolean {
  return decide(question, policies) !== 'refused';
}

/** `by ACL`: nothing else allows it. */
export type Decision = 'refused' | 'allowed' | 'by ACL';

/** The same, with what it hangs on. */
export function decide(question: AccessQuestion, policies: Policies): Decision {
  const { credential, action, bucket, object } = question;
  const inBucketAccount = credential?.accountId === bucket.owner.id;
  const granted = credential !== undefined && isGranted(credential.policy, action, bucket.name);
  if (policyActions.has(action)) {
    if (!inBucketAccount) return 'refused';
    if (granted && isRoot(credential)) return 'allowed';
  }
  const allowedBy = policyAnswer(question, policies);
  if (allowedBy.denied) return 'refused';
  const withAcls = hasAcls(bucket);
  const ownerId =
    withAcls && object !== undefined && belongsToObjectOwner(action) ? object.owner.id : bucket.owner.id;
  if (granted && credential.accountId === ownerId) return 'allowed';
  if (ownerId === bucket.owner.id && allowedBy.allowed) {
    if (credential === undefined || inBucketAccount || granted) return 'allowed';
  }
  if (isPublicByConfiguration(question, ownerId)) return 'allowed';
  return withAcls && aclAllows(question, { ownerId, granted }) ? 'by ACL' : 'refused';
}

function resourceArn(bucket: string, key: string): string {
  return key === '' ? `arn:aws:s3:::${bucket}` : `arn:aws:s3:::${bucket}/${key}`;
}

function policyAnswer(
  question: AccessQuestion,
  policies: Policies,
): { readonly denied: boolean; readonly allowed: boolean } {
  const { bucket, credential } = question;
  const text = bucket.settings.get('policy');
  if (text === undefined) return { denied: false, allowed: false };
  const policy = policies.of(text, bucket.name);
  const { denied, allowed } = evaluatePolicy(policy, {
    principal: principalOf(credential),
    action: question.action.toLowerCase(),
    resource: resourceArn(bucket.name, question.key),
    values: question.values,
  });
  if (denied || allowed === 'none') return { denied, allowed: false };
  if (credential?.accountId === bucket.owner.id) {
    // Naming the account leaves it to the account's own policies, which have been asked already.
    return { denied: false, allowed: allowed !== 'account' };
  }
  const restricted = isBlocked(bucket, 'RestrictPublicBuckets') && isPublicPolicy(policy);
  return { denied: false, allowed: !restricted };
}

/** What anybody may do with a bucket of the configuration that is `public`. */
const publicActions: ReadonlySet<string> = new Set(['s3:GetObject', 's3:ListBucket']);

const bucketPermissions: Readonly<Record<string, Permission>> = {
  's3:ListBucket': 'READ',
  's3:ListBucketVersions': 'READ',
  's3:ListBucketMultipartUploads': 'READ',
  's3:PutObject': 'WRITE',
  's3:DeleteObject': 'WRITE',
  's3:AbortMultipartUpload': 'WRITE',
  's3:ListMultipartUploadParts': 'WRITE',
  's3:GetBucketAcl': 'READ_ACP',
  's3:PutBucketAcl': 'WRITE_ACP',
};

const objectPermissions: Readonly<Record<string, Permission>> = {
  's3:GetObject': 'READ',
  's3:GetObjectVersion': 'READ',
  's3:GetObjectAttributes': 'READ',
  's3:GetObjectVersionAttributes': 'READ',
  's3:GetObjectAcl': 'READ_ACP',
  's3:GetObjectVersionAcl': 'READ_ACP',
  's3:PutObjectAcl': 'WRITE_ACP',
  's3:PutObjectVersionAcl': 'WRITE_ACP',
};

/** A bucket that is `public` shows itself, and those of its objects that are its owner's. */
function isPublicByConfiguration({ bucket, action }: AccessQuestion, ownerId: string): boolean {
  return (
    bucket.public &&
    publicActions.has(action) &&
    ownerId === bucket.owner.id &&
    !isBlocked(bucket, 'IgnorePublicAcls')
  );
}

function aclAllows(
  question: AccessQuestion,
  who: { readonly ownerId: string; readonly granted: boolean },
): boolean {
  const { action, bucket, object, credential } = question;
  const onBucket = bucketPermissions[action];
  const permission = onBucket ?? objectPermissions[action];
  if (permission === undefined || (onBucket === undefined && object === undefined)) return false;
  const stored = onBucket === undefined ? decodeAcl(object?.acl, who.ownerId) : bucketAcl(bucket);
  const ignoring = isBlocked(bucket, 'IgnorePublicAcls');
  const acl: Acl = ignoring ? stored.filter((grant) => !isPublicGrant(grant)) : stored;
  if (grantsPermission(acl, undefined, permission)) return true;
  return who.granted && grantsPermission(acl, credential?.accountId, permission);
}
