import {
  encodeBucketEncryption,
  parseBucketEncryption,
  type BucketEncryption,
} from '../../backend/engine/bucket_encryption.ts';
import { S3Error } from '../errors.ts';
import { emptyReply } from '../http/reply.ts';
import type { Operation } from '../operation.ts';
import { given, invalidArgument } from '../request/parameters.ts';
import { readXml, type XmlElement } from '../xml/read.ts';
import { element, parent, root } from '../xml/write.ts';
import { deleteSetting, getSetting, putSetting } from './bucket_setting.ts';

const setting = 'encryption';
const documentName = 'ServerSideEncryptionConfiguration';

/**
 * As in S3, a key that is named here needn't exist: it is looked for when an object is written.
 * https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketEncryption.html
 */
export const putBucketEncryption: Operation = putSetting('PutBucketEncryption', {
  setting,
  action: 's3:PutEncryptionConfiguration',
  read: (xml) => encodeBucketEncryption(readConfiguration(xml)),
});

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketEncryption.html */
export const getBucketEncryption: Operation = getSetting('GetBucketEncryption', {
  setting,
  action: 's3:GetEncryptionConfiguration',
  write: (text) => configurationXml(parseBucketEncryption(text)),
  absent: 'ServerSideEncryptionConfigurationNotFoundError',
});

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteBucketEncryption.html */
export const deleteBucketEncryption: Operation = deleteSetting('DeleteBucketEncryption', {
  setting,
  action: 's3:PutEncryptionConfiguration',
  reply: () => emptyReply(204),
});

function readConfiguration(xml: Uint8Array): BucketEncryption {
  const document = readXml(xml, documentName);
  refuseOthers(document, ['Rule']);
  const [rule, ...others] = document.all('Rule');
  if (rule === undefined || others.length > 0) throw new S3Error('MalformedXML');
  refuseOthers(rule, ['ApplyServerSideEncryptionByDefault', 'BucketKeyEnabled']);
  const [byDefault, ...more] = rule.all('ApplyServerSideEncryptionByDefault');
  if (byDefault === undefined || more.length > 0) throw new S3Error('MalformedXML');
  refuseOthers(byDefault, ['SSEAlgorithm', 'KMSMasterKeyID']);
  const bucketKey = readFlag(rule.text('BucketKeyEnabled'));
  const keyId = byDefault.text('KMSMasterKeyID')?.trim();
  switch (byDefault.requiredText('SSEAlgorithm').trim()) {
    case 'aws:kms':
      return {
        type: 'aws:kms',
        ...given('keyId', keyId === '' ? undefined : keyId),
        ...given('bucketKey', bucketKey),
      };
    case 'AES256':
      if (keyId === undefined || keyId === '') return { type: 'AES256' };
      throw invalidArgument(
        'KMSMasterKeyID',
        keyId,
        'a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms',
      );
    case 'aws:kms:dsse':
      throw new S3Error('NotImplemented', '', { Element: 'SSEAlgorithm' });
    default:
      throw new S3Error('MalformedXML');
  }
}

function readFlag(text: string | undefined): boolean | undefined {
  if (text === undefined) return undefined;
  const flag = text.trim();
  if (flag !== 'true' && flag !== 'false') throw new S3Error('MalformedXML');
  return flag === 'true';
}

/** What isn't understood would not be done. @throws S3Error NotImplemented */
function refuseOthers(parent: XmlElement, known: readonly string[]): void {
  const other = parent.names.find((name) => !known.includes(name));
  if (other !== undefined) throw new S3Error('NotImplemented', '', { Element: other });
}

function configurationXml(encryption: BucketEncryption): string {
  const kms = encryption.type === 'aws:kms' ? encryption : undefined;
  return root(
    documentName,
    parent(
      'Rule',
      parent(
        'ApplyServerSideEncryptionByDefault',
        element('SSEAlgorithm', encryption.type),
        element('KMSMasterKeyID', kms?.keyId),
      ),
      element('BucketKeyEnabled', kms?.bucketKey === true),
    ),
  );
}
