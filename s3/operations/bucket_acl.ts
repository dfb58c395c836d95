import { cannedAcl, encodeAcl, isPublicAcl, type Acl } from '../access/acl.ts';
import { hasAcls, isBlocked, shownBucketAcl } from '../access/bucket_access.ts';
import { requireAcls } from '../access/ownership.ts';
import type { Bucket, Owner } from '../../backend/backend.ts';
import { S3Error } from '../errors.ts';
import { emptyReply, xmlReply } from '../http/reply.ts';
import type { Operation } from '../operation.ts';
import type { AskedAcl } from '../request/acl_request.ts';
import { accessControlPolicy, readAskedAcl } from './access_control.ts';
import { bucketRequest } from './bucket_request.ts';

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketAcl.html */
export const getBucketAcl: Operation = {
  name: 'GetBucketAcl',
  async handle(call) {
    const bucket = await call.services.backend.headBucket(bucketRequest(call, 's3:GetBucketAcl'));
    const { owner } = bucket;
    const acl = hasAcls(bucket) ? shownBucketAcl(bucket) : cannedAcl('private', { owner });
    return xmlReply(await accessControlPolicy(acl, { owner, accounts: call.services.accounts }));
  },
};

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketAcl.html */
export const putBucketAcl: Operation = {
  name: 'PutBucketAcl',
  async handle(call) {
    const { backend } = call.services;
    const request = bucketRequest(call, 's3:PutBucketAcl');
    // Who may not is told so before the body is looked at.
    await backend.headBucket(request);
    const { asked, ownerId } = await readAskedAcl(call);
    await backend.updateBucketSettings({
      ...request,
      change: (bucket) => {
        requireAcls(bucket);
        if (ownerId !== undefined && ownerId !== bucket.owner.id) throw new S3Error('AccessDenied');
        return { acl: encodeAcl(askedBucketAcl(asked, bucket), bucket.owner.id) };
      },
    });
    return emptyReply(200);
  },
};

function askedBucketAcl(asked: AskedAcl, bucket: Bucket): Acl {
  const acl = grantsOf(asked, bucket.owner);
  if (isBlocked(bucket, 'BlockPublicAcls') && isPublicAcl(acl)) throw new S3Error('AccessDenied');
  return acl;
}

/** What an ACL asked for a bucket grants. */
export function grantsOf(asked: AskedAcl, owner: Owner): Acl {
  return 'grants' in asked ? asked.grants : cannedAcl(asked.canned, { owner });
}
