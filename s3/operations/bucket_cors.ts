import { corsConfigurationXml, readCorsConfiguration } from '../cors/rules.ts';
import { emptyReply } from '../http/reply.ts';
import type { Operation } from '../operation.ts';
import { deleteSetting, getSetting, putSetting } from './bucket_setting.ts';

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketCors.html */
export const putBucketCors: Operation = putSetting('PutBucketCors', {
  setting: 'cors',
  action: 's3:PutBucketCORS',
  read: readCorsConfiguration,
});

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketCors.html */
export const getBucketCors: Operation = getSetting('GetBucketCors', {
  setting: 'cors',
  action: 's3:GetBucketCORS',
  write: corsConfigurationXml,
  absent: 'NoSuchCORSConfiguration',
});

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteBucketCors.html */
export const deleteBucketCors: Operation = deleteSetting('DeleteBucketCors', {
  setting: 'cors',
  action: 's3:PutBucketCORS',
  reply: () => emptyReply(204),
});
