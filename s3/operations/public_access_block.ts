import { publicAccessSwitches } from '../access/bucket_access.ts';
import { authorize } from '../authorization.ts';
import { S3Error } from '../errors.ts';
import { emptyReply, xmlReply } from '../http/reply.ts';
import type { Operation } from '../operation.ts';
import { readXmlBody } from '../request/xml_body.ts';
import { readXml } from '../xml/read.ts';
import { element, root } from '../xml/write.ts';

const maxXmlBytes = 16 * 1024;
const none = 'none';

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetPublicAccessBlock.html */
export const getPublicAccessBlock: Operation = {
  name: 'GetPublicAccessBlock',
  async handle(call) {
    const { settings } = await call.services.backend.headBucket({
      bucket: call.bucket,
      authorize: authorize(call, 's3:GetBucketPublicAccessBlock'),
      signal: call.signal,
    });
    const text = settings.get('public-access-block');
    if (text === undefined) {
      throw new S3Error('NoSuchPublicAccessBlockConfiguration', '', { BucketName: call.bucket });
    }
    const on = text.split(' ');
    const switches = publicAccessSwitches.map((name) => element(name, on.includes(name)));
    return xmlReply(root('PublicAccessBlockConfiguration', ...switches));
  },
};

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutPublicAccessBlock.html */
export const putPublicAccessBlock: Operation = {
  name: 'PutPublicAccessBlock',
  async handle(call) {
    const { backend } = call.services;
    const request = {
      bucket: call.bucket,
      authorize: authorize(call, 's3:PutBucketPublicAccessBlock'),
      signal: call.signal,
    };
    await backend.headBucket(request);
    const document = readXml(
      await readXmlBody(call, { maxBytes: maxXmlBytes }),
      'PublicAccessBlockConfiguration',
    );
    const on = publicAccessSwitches.filter((name) => readSwitch(document.text(name)));
    await backend.updateBucketSettings({
      ...request,
      change: () => ({ 'public-access-block': on.length === 0 ? none : on.join(' ') }),
    });
    return emptyReply(200);
  },
};

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeletePublicAccessBlock.html */
export const deletePublicAccessBlock: Operation = {
  name: 'DeletePublicAccessBlock',
  async handle(call) {
    await call.services.backend.updateBucketSettings({
      bucket: call.bucket,
      authorize: authorize(call, 's3:PutBucketPublicAccessBlock'),
      signal: call.signal,
      change: () => ({ 'public-access-block': undefined }),
    });
    return emptyReply(204);
  },
};

function readSwitch(text: string | undefined): boolean {
  const value = text?.trim().toLowerCase();
  if (value === undefined || value === 'false') return false;
  if (value === 'true') return true;
  throw new S3Error('MalformedXML');
}
