import { publicAccessSwitches } from '../access/bucket_access.ts';
import { S3Error } from '../errors.ts';
import { emptyReply } from '../http/reply.ts';
import type { Operation } from '../operation.ts';
import { readXml } from '../xml/read.ts';
import { element, root } from '../xml/write.ts';
import { deleteSetting, getSetting, putSetting } from './bucket_setting.ts';

const setting = 'public-access-block';
const none = 'none';

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetPublicAccessBlock.html */
export const getPublicAccessBlock: Operation = getSetting('GetPublicAccessBlock', {
  setting,
  action: 's3:GetBucketPublicAccessBlock',
  write: (text) => {
    const on = text.split(' ');
    const switches = publicAccessSwitches.map((name) => element(name, on.includes(name)));
    return root('PublicAccessBlockConfiguration', ...switches);
  },
  absent: 'NoSuchPublicAccessBlockConfiguration',
});

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutPublicAccessBlock.html */
export const putPublicAccessBlock: Operation = putSetting('PutPublicAccessBlock', {
  setting,
  action: 's3:PutBucketPublicAccessBlock',
  digestRequired: false,
  maxBytes: 16 * 1024,
  read: (xml) => {
    const document = readXml(xml, 'PublicAccessBlockConfiguration');
    const on = publicAccessSwitches.filter((name) => readSwitch(document.text(name)));
    return on.length === 0 ? none : on.join(' ');
  },
});

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeletePublicAccessBlock.html */
export const deletePublicAccessBlock: Operation = deleteSetting('DeletePublicAccessBlock', {
  setting,
  action: 's3:PutBucketPublicAccessBlock',
  reply: () => emptyReply(204),
});

function readSwitch(text: string | undefined): boolean {
  const value = text?.trim().toLowerCase();
  if (value === undefined || value === 'false') return false;
  if (value === 'true') return true;
  throw new S3Error('MalformedXML');
}
