import { authorize, signedOwner } from '../authorization.ts';
import { emptyReply } from '../http/reply.ts';
import type { Operation } from '../operation.ts';
import { uploadId } from '../request/parameters.ts';

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_AbortMultipartUpload.html */
export const abortMultipartUpload: Operation = {
  name: 'AbortMultipartUpload',
  async handle(call) {
    signedOwner(call);
    await call.services.backend.abortMultipartUpload({
      bucket: call.bucket,
      key: call.key,
      uploadId: uploadId(call.query),
      authorize: authorize(call, 's3:AbortMultipartUpload'),
      signal: call.signal,
    });
    return emptyReply(204);
  },
};
