import { emptyReply } from '../http/reply.ts';
import type { Operation } from '../operation.ts';
import { bucketRequest } from './bucket_request.ts';

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadBucket.html */
export const headBucket: Operation = {
  name: 'HeadBucket',
  async handle(call) {
    const bucket = await call.services.backend.headBucket(bucketRequest(call, 's3:ListBucket'));
    return emptyReply(200, {
      'x-amz-bucket-region': bucket.region,
      'x-amz-access-point-alias': 'false',
      'content-type': 'application/xml',
    });
  },
};
