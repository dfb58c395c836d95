import { xmlReply } from '../http/reply.ts';
import type { Operation } from '../operation.ts';
import { escapeXml, root } from '../xml/write.ts';
import { bucketRequest } from './bucket_request.ts';

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketLocation.html */
export const getBucketLocation: Operation = {
  name: 'GetBucketLocation',
  async handle(call) {
    const bucket = await call.services.backend.headBucket(bucketRequest(call, 's3:GetBucketLocation'));
    // S3's oldest region has no name here.
    return xmlReply(
      root('LocationConstraint', bucket.region === 'us-east-1' ? '' : escapeXml(bucket.region)),
    );
  },
};
