import { emptyReply } from '../http/reply.ts';
import type { Operation } from '../operation.ts';
import { maxBucketTags, readTagging, taggingXml } from '../request/tags.ts';
import { deleteSetting, getSetting, putSetting } from './bucket_setting.ts';

/** The setting is an array of pairs as JSON. https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketTagging.html */
export const putBucketTagging: Operation = putSetting('PutBucketTagging', {
  setting: 'tagging',
  action: 's3:PutBucketTagging',
  read: (xml) => {
    const tags = readTagging(xml, { maxTags: maxBucketTags });
    return tags.size === 0 ? undefined : JSON.stringify([...tags]);
  },
});

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketTagging.html */
export const getBucketTagging: Operation = getSetting('GetBucketTagging', {
  setting: 'tagging',
  action: 's3:GetBucketTagging',
  write: (text) => taggingXml(JSON.parse(text) as [string, string][]),
  absent: 'NoSuchTagSet',
});

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteBucketTagging.html */
export const deleteBucketTagging: Operation = deleteSetting('DeleteBucketTagging', {
  setting: 'tagging',
  action: 's3:PutBucketTagging',
  reply: () => emptyReply(204),
});
