import { emptyReply } from '../http/reply.ts';
import { readLifecycleConfiguration } from '../lifecycle/read_configuration.ts';
import { lifecycleConfigurationXml } from '../lifecycle/write_configuration.ts';
import type { Operation } from '../operation.ts';
import { deleteSetting, getSetting, putSetting } from './bucket_setting.ts';

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketLifecycleConfiguration.html */
export const putBucketLifecycle: Operation = putSetting('PutBucketLifecycleConfiguration', {
  setting: 'lifecycle',
  action: 's3:PutLifecycleConfiguration',
  read: readLifecycleConfiguration,
});

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketLifecycleConfiguration.html */
export const getBucketLifecycle: Operation = getSetting('GetBucketLifecycleConfiguration', {
  setting: 'lifecycle',
  action: 's3:GetLifecycleConfiguration',
  write: lifecycleConfigurationXml,
  absent: 'NoSuchLifecycleConfiguration',
});

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteBucketLifecycle.html */
export const deleteBucketLifecycle: Operation = deleteSetting('DeleteBucketLifecycle', {
  setting: 'lifecycle',
  action: 's3:PutLifecycleConfiguration',
  reply: () => emptyReply(204),
});
