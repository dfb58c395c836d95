import type { BucketInfo } from '../../backend/backend.ts';
import { authorize } from '../authorization.ts';
import { xmlReply } from '../http/reply.ts';
import type { Operation } from '../operation.ts';
import { given, versionId } from '../request/parameters.ts';
import { accessControlPolicy } from './access_control.ts';

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectAcl.html */
export const getObjectAcl: Operation = {
  name: 'GetObjectAcl',
  async handle(call) {
    const version = versionId(call.query);
    const check = authorize(call, version === undefined ? 's3:GetObjectAcl' : 's3:GetObjectVersionAcl');
    let found: BucketInfo | undefined;
    await call.services.backend.headObject({
      bucket: call.bucket,
      key: call.key,
      signal: call.signal,
      authorize: (bucket) => {
        check(bucket);
        found = bucket;
      },
      ...given('versionId', version),
    });
    if (found === undefined) throw new Error('The backend answered without asking for authorization.');
    return xmlReply(accessControlPolicy(found));
  },
};
