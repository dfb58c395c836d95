import {
  encodeLockConfiguration,
  parseLockConfiguration,
  type DefaultRetention,
} from '../../backend/object_lock.ts';
import { S3Error } from '../errors.ts';
import type { Operation } from '../operation.ts';
import { parseMode } from '../request/object_lock.ts';
import { readXml, type XmlElement } from '../xml/read.ts';
import { element, parent, root } from '../xml/write.ts';
import { getSetting, putSetting } from './bucket_setting.ts';

const setting = 'object-lock';
const units = ['Days', 'Years'] as const;
const longest = { Days: 36_500, Years: 100 } as const;

/**
 * Also what enables object lock on a bucket that has none; nothing disables it again.
 * https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObjectLockConfiguration.html
 */
export const putObjectLockConfiguration: Operation = putSetting('PutObjectLockConfiguration', {
  setting,
  action: 's3:PutBucketObjectLockConfiguration',
  digestRequired: false,
  maxBytes: 64 * 1024,
  read: (xml) => {
    const configuration = readXml(xml, 'ObjectLockConfiguration');
    if (configuration.text('ObjectLockEnabled')?.trim() !== 'Enabled') throw new S3Error('MalformedXML');
    const defaultRetention = readRule(configuration.all('Rule'));
    const text = encodeLockConfiguration(defaultRetention === undefined ? {} : { defaultRetention });
    return ({ settings }) => {
      if (settings.get('versioning') !== 'Enabled') {
        throw new S3Error(
          'InvalidBucketState',
          "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration",
        );
      }
      return text;
    };
  },
});

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectLockConfiguration.html */
export const getObjectLockConfiguration: Operation = getSetting('GetObjectLockConfiguration', {
  setting,
  action: 's3:GetBucketObjectLockConfiguration',
  write: (text) => {
    const { defaultRetention } = parseLockConfiguration(text);
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
    return root('ObjectLockConfiguration', element('ObjectLockEnabled', 'Enabled'), rule);
  },
  absent: 'ObjectLockConfigurationNotFoundError',
});

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
