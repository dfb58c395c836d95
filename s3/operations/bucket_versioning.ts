import { S3Error } from '../errors.ts';
import { emptyReply, xmlReply } from '../http/reply.ts';
import type { Operation } from '../operation.ts';
import { readXmlBody } from '../request/xml_body.ts';
import { readXml } from '../xml/read.ts';
import { element, root } from '../xml/write.ts';
import { bucketRequest } from './bucket_request.ts';

const maxXmlBytes = 64 * 1024;
const statuses: readonly string[] = ['Enabled', 'Suspended'];
const mfaStatuses: readonly string[] = ['Enabled', 'Disabled'];

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketVersioning.html */
export const getBucketVersioning: Operation = {
  name: 'GetBucketVersioning',
  async handle(call) {
    const { settings } = await call.services.backend.headBucket(
      bucketRequest(call, 's3:GetBucketVersioning'),
    );
    return xmlReply(root('VersioningConfiguration', element('Status', settings.get('versioning'))));
  },
};

/**
 * Deletion by a second factor isn't there, and is refused rather than forgotten.
 * https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketVersioning.html
 */
export const putBucketVersioning: Operation = {
  name: 'PutBucketVersioning',
  async handle(call) {
    const bytes = await readXmlBody(call, { maxBytes: maxXmlBytes });
    const configuration = readXml(bytes, 'VersioningConfiguration');
    const mfaDelete = configuration.text('MfaDelete')?.trim();
    if (mfaDelete !== undefined && !mfaStatuses.includes(mfaDelete)) throw new S3Error('MalformedXML');
    if (mfaDelete === 'Enabled') {
      throw new S3Error('NotImplemented', 'Deletion by a second factor is not implemented.', {
        Element: 'MfaDelete',
      });
    }
    const status = configuration.text('Status')?.trim();
    if (status === undefined) throw new S3Error('IllegalVersioningConfigurationException');
    if (!statuses.includes(status)) throw new S3Error('MalformedXML');
    await call.services.backend.updateBucketSettings({
      ...bucketRequest(call, 's3:PutBucketVersioning'),
      change: ({ settings }) => {
        if (status === 'Suspended' && settings.has('object-lock')) {
          throw new S3Error(
            'InvalidBucketState',
            'An Object Lock configuration is present on this bucket, so the versioning state cannot be changed.',
          );
        }
        return { versioning: status };
      },
    });
    return emptyReply(200);
  },
};
