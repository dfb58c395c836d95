import { PolicyError } from '../../auth/bucket_policy/error.ts';
import { isPublicPolicy } from '../../auth/bucket_policy/public_policy.ts';
import type { Bucket } from '../../backend/backend.ts';
import { isPublicAcl } from '../access/acl.ts';
import { hasAcls, isBlocked, shownBucketAcl } from '../access/bucket_access.ts';
import { authorize } from '../authorization.ts';
import { S3Error } from '../errors.ts';
import type { Call } from '../exchange.ts';
import { emptyReply, xmlReply } from '../http/reply.ts';
import type { Operation } from '../operation.ts';
import { readXmlBody } from '../request/xml_body.ts';
import { element, root } from '../xml/write.ts';

/** A little more than a policy may have, so that one that is too long is told so in its own words. */
const maxBodyBytes = 64 * 1024;

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketPolicy.html */
export const getBucketPolicy: Operation = {
  name: 'GetBucketPolicy',
  async handle(call) {
    const { settings } = await find(call, 's3:GetBucketPolicy');
    const body = settings.get('policy');
    if (body === undefined) throw new S3Error('NoSuchBucketPolicy', '', { BucketName: call.bucket });
    return { status: 200, headers: { 'content-type': 'application/json' }, body };
  },
};

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketPolicy.html */
export const putBucketPolicy: Operation = {
  name: 'PutBucketPolicy',
  async handle(call) {
    const check = authorize(call, 's3:PutBucketPolicy');
    await find(call, 's3:PutBucketPolicy');
    const text = await readPolicyText(call);
    const isPublic = isPublicPolicy(compile(call, text));
    await call.services.backend.updateBucketSettings({
      bucket: call.bucket,
      authorize: check,
      signal: call.signal,
      change: (bucket) => {
        if (isPublic && isBlocked(bucket, 'BlockPublicPolicy')) throw new S3Error('AccessDenied');
        return { policy: text };
      },
    });
    return emptyReply(204);
  },
};

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteBucketPolicy.html */
export const deleteBucketPolicy: Operation = {
  name: 'DeleteBucketPolicy',
  async handle(call) {
    await call.services.backend.updateBucketSettings({
      bucket: call.bucket,
      authorize: authorize(call, 's3:DeleteBucketPolicy'),
      signal: call.signal,
      change: () => ({ policy: undefined }),
    });
    return emptyReply(204);
  },
};

/**
 * Whether the bucket is public by its policy or its ACL. Where it has no policy, that is answered all the same.
 * https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketPolicyStatus.html
 */
export const getBucketPolicyStatus: Operation = {
  name: 'GetBucketPolicyStatus',
  async handle(call) {
    const bucket = await find(call, 's3:GetBucketPolicyStatus');
    const text = bucket.settings.get('policy');
    const byPolicy =
      text !== undefined &&
      isPublicPolicy(call.services.policies.of(text, bucket.name)) &&
      !isBlocked(bucket, 'RestrictPublicBuckets');
    const byAcl =
      (bucket.public || (hasAcls(bucket) && isPublicAcl(shownBucketAcl(bucket)))) &&
      !isBlocked(bucket, 'IgnorePublicAcls');
    return xmlReply(root('PolicyStatus', element('IsPublic', byPolicy || byAcl)));
  },
};

function find(call: Call, action: string): Promise<Bucket> {
  return call.services.backend.headBucket({
    bucket: call.bucket,
    authorize: authorize(call, action),
    signal: call.signal,
  });
}

async function readPolicyText(call: Call): Promise<string> {
  const bytes = await readXmlBody(call, { maxBytes: maxBodyBytes });
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new S3Error('MalformedPolicy', 'Policies must be UTF-8.');
  }
}

function compile(call: Call, text: string): ReturnType<Call['services']['policies']['read']> {
  try {
    return call.services.policies.read(text, call.bucket);
  } catch (error) {
    if (error instanceof PolicyError) throw new S3Error('MalformedPolicy', error.message);
    throw error;
  }
}
