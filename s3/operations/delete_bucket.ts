import { authorize } from '../authorization.ts';
import { emptyReply } from '../http/reply.ts';
import type { Operation } from '../operation.ts';

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteBucket.html */
export const deleteBucket: Operation = {
  name: 'DeleteBucket',
  async handle(call) {
    await call.services.backend.deleteBucket({
      bucket: call.bucket,
      authorize: authorize(call, 's3:DeleteBucket'),
      signal: call.signal,
    });
    return emptyReply(204);
  },
};
