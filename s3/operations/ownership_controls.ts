import { decodeAcl, isOwnersAlone, type Acl } from '../access/acl.ts';
import { objectOwnerships, type ObjectOwnershipRule } from '../access/bucket_access.ts';
import { S3Error } from '../errors.ts';
import { emptyReply } from '../http/reply.ts';
import type { Operation } from '../operation.ts';
import { readXml } from '../xml/read.ts';
import { element, parent, root } from '../xml/write.ts';
import { deleteSetting, getSetting, putSetting } from './bucket_setting.ts';

const setting = 'ownership';

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketOwnershipControls.html */
export const getBucketOwnershipControls: Operation = getSetting('GetBucketOwnershipControls', {
  setting,
  action: 's3:GetBucketOwnershipControls',
  write: (rule) => root('OwnershipControls', parent('Rule', element('ObjectOwnership', rule))),
  absent: 'OwnershipControlsNotFoundError',
});

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketOwnershipControls.html */
export const putBucketOwnershipControls: Operation = putSetting('PutBucketOwnershipControls', {
  setting,
  action: 's3:PutBucketOwnershipControls',
  digestRequired: false,
  maxBytes: 16 * 1024,
  read: (xml) => {
    const [rule, ...more] = readXml(xml, 'OwnershipControls').all('Rule');
    const ownership = objectOwnerships.find((name) => name === rule?.text('ObjectOwnership')?.trim());
    if (ownership === undefined || more.length > 0) throw new S3Error('MalformedXML');
    return ({ settings, owner }) => {
      checkAclGoesWith(ownership, { acl: decodeAcl(settings.get('acl'), owner.id), ownerId: owner.id });
      return ownership;
    };
  },
});

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteBucketOwnershipControls.html */
export const deleteBucketOwnershipControls: Operation = deleteSetting('DeleteBucketOwnershipControls', {
  setting,
  action: 's3:PutBucketOwnershipControls',
  reply: () => emptyReply(204),
});

/**
 * What an ACL has given to others would be lost in silence.
 * @throws S3Error InvalidBucketAclWithObjectOwnership
 */
export function checkAclGoesWith(
  rule: ObjectOwnershipRule,
  bucket: { readonly acl: Acl; readonly ownerId: string },
): void {
  if (rule === 'BucketOwnerEnforced' && !isOwnersAlone(bucket.acl, bucket.ownerId)) {
    throw new S3Error('InvalidBucketAclWithObjectOwnership');
  }
}
