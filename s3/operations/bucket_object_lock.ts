import {
  encodeLockConfiguration,
  lockConfigurationOf,
  type DefaultRetention,
} from '../../backend/object_lock.ts';
import { authorize } from '../authorization.ts';
import { S3Error } from '../errors.ts';
import { emptyReply, xmlReply } from '../http/reply.ts';
import type { Operation } from '../operation.ts';
import { parseMode } from '../request/object_lock.ts';
import { readXmlBody } from '../request/xml_body.ts';
import { readXml, type XmlElement } from '../xml/read.ts';
import { element, parent, root } from '../xml/write.ts';

const maxXmlBytes = 64 * 1024;
const units = ['Days', 'Years'] as const;
const longest = { Days: 36_500, Years: 100 } as const;

/**
 * Also what enables object lock on a bucket that has none; nothing disables it again.
 * https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObjectLockConfiguration.html
 */
export const putObjectLockConfiguration: Operation = {
  name: 'PutObjectLockConfiguration',
  async handle(call) {
    const request = {
      bucket: call.bucket,
      authorize: authorize(call, 's3:PutBucketObjectLockConfiguration'),
      signal: call.signal,
    };
    await call.services.backend.headBucket(request);
    const configuration = readXml(
      await readXmlBody(call, { maxBytes: maxXmlBytes }),
      'ObjectLockConfiguration',
    );
    if (configuration.text('ObjectLockEnabled')?.trim() !== 'Enabled') throw new S3Error('MalformedXML');
    const defaultRetention = readRule(configuration.all('Rule'));
    const text = encodeLockConfiguration(defaultRetention === undefined ? {} : { defaultRetention });
    await call.services.backend.updateBucketSettings({
      ...request,
      change: ({ settings }) => {
        if (settings.get('versioning') !== 'Enabled') {
          throw new S3Error(
            'InvalidBucketState',
            "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration",
          );
        }
        return { 'object-lock': text };
      },
    });
    return emptyReply(200);
  },
};

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectLockConfiguration.html */
export const getObjectLockConfiguration: Operation = {
  name: 'GetObjectLockConfiguration',
  async handle(call) {
    const bucket = await call.services.backend.headBucket({
      bucket: call.bucket,
      authorize: authorize(call, 's3:GetBucketObjectLockConfiguration'),
      signal: call.signal,
    });
    const configuration = lockConfigurationOf(bucket);
    if (configuration === undefined) {
      throw new S3Error('ObjectLockConfigurationNotFoundError', '', { BucketName: call.bucket });
    }
    const { defaultRetention } = configuration;
    const rule =
      defaultRetention === undefined
        ? ''
        : parent(
            'Rule',
            parent(
              'DefaultRetention',
              element('Mode', defaultRetention.mode),
              element(defaultRetention.unit, defaultRetention.count),
            ),
          );
    return xmlReply(root('ObjectLockConfiguration', element('ObjectLockEnabled', 'Enabled'), rule));
  },
};

function readRule(rules: readonly XmlElement[]): DefaultRetention | undefined {
  if (rules.length > 1) throw new S3Error('MalformedXML');
  const [rule] = rules;
  if (rule === undefined) return undefined;
  const [retention, ...others] = rule.all('DefaultRetention');
  if (retention === undefined || others.length > 0) throw new S3Error('MalformedXML');
  const mode = parseMode(retention.requiredText('Mode'));
  const [unit, ...otherUnits] = units.filter((name) => retention.text(name) !== undefined);
  if (mode === undefined || unit === undefined || otherUnits.length > 0) throw new S3Error('MalformedXML');
  const text = retention.requiredText(unit).trim();
  if (!/^-?\d{1,9}$/.test(text)) throw new S3Error('MalformedXML');
  const count = Number(text);
  if (count < 1 || count > longest[unit]) {
    throw new S3Error(
      'InvalidRetentionPeriod',
      `Default retention period must be a positive integer value of at most ${longest[unit]} ${unit.toLowerCase()}`,
    );
  }
  return { mode, unit, count };
}
