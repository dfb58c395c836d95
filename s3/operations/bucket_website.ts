import { emptyReply } from '../http/reply.ts';
import type { Operation } from '../operation.ts';
import { readWebsiteConfiguration, websiteXml } from '../website/configuration.ts';
import { deleteSetting, getSetting, putSetting } from './bucket_setting.ts';

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketWebsite.html */
export const putBucketWebsite: Operation = putSetting('PutBucketWebsite', {
  setting: 'website',
  action: 's3:PutBucketWebsite',
  digestRequired: false,
  read: readWebsiteConfiguration,
});

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketWebsite.html */
export const getBucketWebsite: Operation = getSetting('GetBucketWebsite', {
  setting: 'website',
  action: 's3:GetBucketWebsite',
  write: websiteXml,
  absent: 'NoSuchWebsiteConfiguration',
});

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteBucketWebsite.html */
export const deleteBucketWebsite: Operation = deleteSetting('DeleteBucketWebsite', {
  setting: 'website',
  action: 's3:DeleteBucketWebsite',
  reply: () => emptyReply(204),
});
