import { authorize } from '../authorization.ts';
import { xmlReply } from '../http/reply.ts';
import type { Operation } from '../operation.ts';
import { given, versionId } from '../request/parameters.ts';
import { root } from '../xml/write.ts';

/**
 * No object has tags yet; clients that copy objects ask all the same.
 * https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectTagging.html
 */
export const getObjectTagging: Operation = {
  name: 'GetObjectTagging',
  async handle(call) {
    const version = versionId(call.query);
    const object = await call.services.backend.headObject({
      bucket: call.bucket,
      key: call.key,
      authorize: authorize(
        call,
        version === undefined ? 's3:GetObjectTagging' : 's3:GetObjectVersionTagging',
      ),
      signal: call.signal,
      ...given('versionId', version),
    });
    return xmlReply(root('Tagging', '<TagSet></TagSet>'), {
      headers: { ...given('x-amz-version-id', object.versionId) },
    });
  },
};
