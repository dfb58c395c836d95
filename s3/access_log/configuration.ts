import { S3Error } from '../errors.ts';
import { readXml, type XmlElement } from '../xml/read.ts';
import { element, parent, root } from '../xml/write.ts';

/** By which day log objects are put under keys with a date in them. */
type PartitionDateSource = 'DeliveryTime' | 'EventTime';

/** The `logging` setting of a bucket, as JSON. */
export interface LoggingTarget {
  readonly bucket: string;
  readonly prefix: string;
  /** Keys of log objects have account, region, bucket and day in them; absent: only the time of delivery. */
  readonly partitionedBy?: PartitionDateSource;
}

/** What is left of a key's 1,024 bytes beside the longest that follows the prefix. */
const maxPrefixBytes = 800;

/** @returns undefined where logging is to end. @throws S3Error MalformedXML, NotImplemented, InvalidArgument */
export function readLoggingStatus(xml: Uint8Array): LoggingTarget | undefined {
  const document = readXml(xml, 'BucketLoggingStatus');
  allow(document, ['LoggingEnabled']);
  const enabled = one(document, 'LoggingEnabled');
  if (enabled === undefined) return undefined;
  if (enabled.names.includes('TargetGrants')) {
    throw new S3Error('NotImplemented', '', { Element: 'TargetGrants' });
  }
  allow(enabled, ['TargetBucket', 'TargetPrefix', 'TargetObjectKeyFormat']);
  const bucket = enabled.requiredText('TargetBucket');
  const prefix = enabled.requiredText('TargetPrefix');
  if (Buffer.byteLength(prefix) > maxPrefixBytes) {
    throw new S3Error('InvalidArgument', 'The target prefix is too long.', { ArgumentName: 'TargetPrefix' });
  }
  const format = one(enabled, 'TargetObjectKeyFormat');
  const partitionedBy = format === undefined ? undefined : readFormat(format);
  return { bucket, prefix, ...(partitionedBy === undefined ? {} : { partitionedBy }) };
}

function readFormat(format: XmlElement): PartitionDateSource | undefined {
  allow(format, ['SimplePrefix', 'PartitionedPrefix']);
  if (format.names.length !== 1) throw new S3Error('MalformedXML');
  const partition = one(format, 'PartitionedPrefix');
  if (partition === undefined) {
    const simple = one(format, 'SimplePrefix');
    if (simple !== undefined) allow(simple, []);
    return undefined;
  }
  allow(partition, ['PartitionDateSource']);
  const source = partition.text('PartitionDateSource') ?? 'DeliveryTime';
  if (source !== 'DeliveryTime' && source !== 'EventTime') throw new S3Error('MalformedXML');
  return source;
}

function one(within: XmlElement, name: string): XmlElement | undefined {
  const [first, ...more] = within.all(name);
  if (more.length > 0) throw new S3Error('MalformedXML');
  return first;
}

function allow(within: XmlElement, names: readonly string[]): void {
  if (within.names.some((name) => !names.includes(name))) throw new S3Error('MalformedXML');
}

export function loggingOf(setting: string): LoggingTarget {
  return JSON.parse(setting) as LoggingTarget;
}

export function loggingXml(setting: string): string {
  const { bucket, prefix, partitionedBy } = loggingOf(setting);
  const format =
    partitionedBy === undefined
      ? parent('SimplePrefix')
      : parent('PartitionedPrefix', element('PartitionDateSource', partitionedBy));
  return root(
    'BucketLoggingStatus',
    parent(
      'LoggingEnabled',
      element('TargetBucket', bucket),
      element('TargetPrefix', prefix),
      parent('TargetObjectKeyFormat', format),
    ),
  );
}
