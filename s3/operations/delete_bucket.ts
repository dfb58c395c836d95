import { emptyReply } from '../http/reply.ts';
import type { Operation } from '../operation.ts';
import { bucketRequest } from './bucket_request.ts';

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteBucket.html */
export const deleteBucket: Operation = {
  name: 'DeleteBucket',
  async handle(call) {
    await call.services.backend.deleteBucket(bucketRequest(call, 's3:DeleteBucket'));
    return emptyReply(204);
  },
};
