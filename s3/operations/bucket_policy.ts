import { PolicyError } from '../../auth/bucket_policy/error.ts';
import { isPublicPolicy } from '../../auth/bucket_policy/public_policy.ts';
import { isPublicAcl } from '../access/acl.ts';
import { hasAcls, isBlocked, shownBucketAcl } from '../access/bucket_access.ts';
import { S3Error } from '../errors.ts';
import type { Call } from '../exchange.ts';
import { emptyReply, xmlReply } from '../http/reply.ts';
import type { Operation } from '../operation.ts';
import { element, root } from '../xml/write.ts';
import { bucketRequest } from './bucket_request.ts';
import { deleteSetting, putSetting } from './bucket_setting.ts';

const setting = 'policy';
/** A little more than a policy may have, so that one that is too long is told so in its own words. */
const maxBodyBytes = 64 * 1024;

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketPolicy.html */
export const getBucketPolicy: Operation = {
  name: 'GetBucketPolicy',
  async handle(call) {
    const { backend } = call.services;
    const { settings } = await backend.headBucket(bucketRequest(call, 's3:GetBucketPolicy'));
    const body = settings.get(setting);
    if (body === undefined) throw new S3Error('NoSuchBucketPolicy', '', { BucketName: call.bucket });
    return { status: 200, headers: { 'content-type': 'application/json' }, body };
  },
};

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketPolicy.html */
export const putBucketPolicy: Operation = putSetting('PutBucketPolicy', {
  setting,
  action: 's3:PutBucketPolicy',
  digestRequired: false,
  maxBytes: maxBodyBytes,
  status: 204,
  read: (body, call) => {
    const text = decodePolicyText(body);
    const isPublic = isPublicPolicy(compile(call, text));
    return (bucket) => {
      if (isPublic && isBlocked(bucket, 'BlockPublicPolicy')) throw new S3Error('AccessDenied');
      return text;
    };
  },
});

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteBucketPolicy.html */
export const deleteBucketPolicy: Operation = deleteSetting('DeleteBucketPolicy', {
  setting,
  action: 's3:DeleteBucketPolicy',
  reply: () => emptyReply(204),
});

/**
 * Whether the bucket is public by its policy or its ACL. Where it has no policy, that is answered all the same.
 * https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketPolicyStatus.html
 */
export const getBucketPolicyStatus: Operation = {
  name: 'GetBucketPolicyStatus',
  async handle(call) {
    const { backend, policies } = call.services;
    const bucket = await backend.headBucket(bucketRequest(call, 's3:GetBucketPolicyStatus'));
    const text = bucket.settings.get(setting);
    const byPolicy =
      text !== undefined &&
      isPublicPolicy(policies.of(text, bucket.name)) &&
      !isBlocked(bucket, 'RestrictPublicBuckets');
    const byAcl =
      (bucket.public || (hasAcls(bucket) && isPublicAcl(shownBucketAcl(bucket)))) &&
      !isBlocked(bucket, 'IgnorePublicAcls');
    return xmlReply(root('PolicyStatus', element('IsPublic', byPolicy || byAcl)));
  },
};

function decodePolicyText(body: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(body);
  } catch {
    // The decoder's only refusal.
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
