import type { BucketInfo } from '../../backend/backend.ts';
import { S3Error, type S3ErrorCode } from '../errors.ts';
import type { Call } from '../exchange.ts';
import { xmlReply } from '../http/reply.ts';
import type { Operation } from '../operation.ts';
import { root } from '../xml/write.ts';
import { bucketRequest } from './bucket_request.ts';

/**
 * Reads of bucket configuration that can't be set yet. They answer what S3 answers for a bucket on which nothing was
 * ever set, which is the truth about every bucket here.
 */
function unset(name: string, action: string, code: S3ErrorCode): Operation {
  return {
    name,
    async handle(call) {
      await readableBucket(call, action);
      throw new S3Error(code, '', { BucketName: call.bucket });
    },
  };
}

function empty(name: string, action: string, document: string): Operation {
  return {
    name,
    async handle(call) {
      await readableBucket(call, action);
      return xmlReply(document);
    },
  };
}

function readableBucket(call: Call, action: string): Promise<BucketInfo> {
  return call.services.backend.headBucket(bucketRequest(call, action));
}

export const getBucketAccelerate = empty(
  'GetBucketAccelerateConfiguration',
  's3:GetAccelerateConfiguration',
  root('AccelerateConfiguration'),
);

export const getBucketReplication = unset(
  'GetBucketReplication',
  's3:GetReplicationConfiguration',
  'ReplicationConfigurationNotFoundError',
);
