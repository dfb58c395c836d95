import { decodeAcl, isOwnersAlone, type Acl } from '../access/acl.ts';
import { objectOwnerships, ownershipSetting, type ObjectOwnershipRule } from '../access/bucket_access.ts';
import { authorize } from '../authorization.ts';
import { S3Error } from '../errors.ts';
import { emptyReply, xmlReply } from '../http/reply.ts';
import type { Operation } from '../operation.ts';
import { readXmlBody } from '../request/xml_body.ts';
import { readXml } from '../xml/read.ts';
import { element, parent, root } from '../xml/write.ts';

const maxXmlBytes = 16 * 1024;

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketOwnershipControls.html */
export const getBucketOwnershipControls: Operation = {
  name: 'GetBucketOwnershipControls',
  async handle(call) {
    const bucket = await call.services.backend.headBucket({
      bucket: call.bucket,
      authorize: authorize(call, 's3:GetBucketOwnershipControls'),
      signal: call.signal,
    });
    const rule = ownershipSetting(bucket);
    if (rule === undefined) {
      throw new S3Error('OwnershipControlsNotFoundError', '', { BucketName: call.bucket });
    }
    return xmlReply(root('OwnershipControls', parent('Rule', element('ObjectOwnership', rule))));
  },
};

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketOwnershipControls.html */
export const putBucketOwnershipControls: Operation = {
  name: 'PutBucketOwnershipControls',
  async handle(call) {
    const { backend } = call.services;
    const request = {
      bucket: call.bucket,
      authorize: authorize(call, 's3:PutBucketOwnershipControls'),
      signal: call.signal,
    };
    await backend.headBucket(request);
    const [rule, ...more] = readXml(
      await readXmlBody(call, { maxBytes: maxXmlBytes }),
      'OwnershipControls',
    ).all('Rule');
    const ownership = objectOwnerships.find((name) => name === rule?.text('ObjectOwnership')?.trim());
    if (ownership === undefined || more.length > 0) throw new S3Error('MalformedXML');
    await backend.updateBucketSettings({
      ...request,
      change: ({ settings, owner }) => {
        checkAclGoesWith(ownership, { acl: decodeAcl(settings.get('acl'), owner.id), ownerId: owner.id });
        return { ownership };
      },
    });
    return emptyReply(200);
  },
};

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteBucketOwnershipControls.html */
export const deleteBucketOwnershipControls: Operation = {
  name: 'DeleteBucketOwnershipControls',
  async handle(call) {
    await call.services.backend.updateBucketSettings({
      bucket: call.bucket,
      authorize: authorize(call, 's3:PutBucketOwnershipControls'),
      signal: call.signal,
      change: () => ({ ownership: undefined }),
    });
    return emptyReply(204);
  },
};

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
