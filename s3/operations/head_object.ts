import { answeredBytes, objectHeaders } from '../http/answer_headers.ts';
import type { Operation } from '../operation.ts';
import { encryptionHeaders } from '../request/encryption.ts';
import { readObject, responseOverrides } from '../request/read_request.ts';

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html */
export const headObject: Operation = {
  name: 'HeadObject',
  async handle(call) {
    const overrides = responseOverrides(call);
    const object = await readObject(call, (request) => call.services.backend.headObject(request));
    const headers = objectHeaders(object, {
      checksum: call.headers.get('x-amz-checksum-mode')?.toUpperCase() === 'ENABLED',
      part: call.query.has('partNumber'),
    });
    Object.assign(headers, encryptionHeaders(object.encryption, call.headers), overrides);
    headers['content-length'] = String(answeredBytes(object));
    return { status: object.range === undefined ? 200 : 206, headers };
  },
};
