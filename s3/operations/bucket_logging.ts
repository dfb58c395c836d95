import type { Bucket, Owner } from '../../backend/backend.ts';
import { BackendError } from '../../backend/errors.ts';
import { loggingXml, readLoggingStatus, type LoggingTarget } from '../access_log/configuration.ts';
import { mayDeliver } from '../access_log/delivery.ts';
import { S3Error } from '../errors.ts';
import type { Call } from '../exchange.ts';
import type { Operation } from '../operation.ts';
import { root } from '../xml/write.ts';
import { getSetting, putSetting } from './bucket_setting.ts';

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketLogging.html */
export const putBucketLogging: Operation = putSetting('PutBucketLogging', {
  setting: 'logging',
  action: 's3:PutBucketLogging',
  digestRequired: false,
  async read(xml, call) {
    const target = readLoggingStatus(xml);
    if (target === undefined) return undefined;
    const source = await call.services.backend.headBucket({
      bucket: call.bucket,
      signal: call.signal,
      authorize: () => undefined,
    });
    await checkTarget(call, { owner: source.owner, target });
    return JSON.stringify(target);
  },
});

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketLogging.html */
export const getBucketLogging: Operation = getSetting('GetBucketLogging', {
  setting: 'logging',
  action: 's3:GetBucketLogging',
  write: loggingXml,
  absent: () => root('BucketLoggingStatus'),
});

/**
 * The target must be there, belong to the same account and take the logs. It may be the bucket itself: deliveries
 * aren't logged.
 */
async function checkTarget(
  call: Call,
  logging: { readonly owner: Owner; readonly target: LoggingTarget },
): Promise<void> {
  const { owner, target } = logging;
  const found = await targetBucket(call, target.bucket);
  if (found === undefined) throw unusable('The target bucket for logging does not exist', target);
  if (found.owner.id !== owner.id) {
    throw unusable('The owner for the bucket to be logged and the target bucket must be the same.', target);
  }
  const source = { bucket: call.bucket, owner };
  if (mayDeliver(found, { source, prefix: target.prefix, policies: call.services.policies })) return;
  throw unusable(
    "You must let logging.s3.amazonaws.com put objects by the target bucket's policy, or give the log-delivery group " +
      'WRITE permission to it',
    target,
  );
}

async function targetBucket(call: Call, bucket: string): Promise<Bucket | undefined> {
  try {
    return await call.services.backend.headBucket({
      bucket,
      signal: call.signal,
      authorize: () => undefined,
    });
  } catch (error) {
    if (error instanceof BackendError && error.code === 'NoSuchBucket') return undefined;
    throw error;
  }
}

function unusable(message: string, target: LoggingTarget): S3Error {
  return new S3Error('InvalidTargetBucketForLogging', message, { TargetBucket: target.bucket });
}
