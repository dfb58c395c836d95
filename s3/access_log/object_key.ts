import type { LoggedBucket } from './delivery.ts';

/**
 * The key of a log object, in the form that the bucket's owner chose.
 * https://docs.aws.amazon.com/AmazonS3/latest/userguide/ServerLogs.html#server-log-keyname-format
 */
export function logObjectKey(
  source: LoggedBucket,
  made: {
    /** Milliseconds since 1970. */
    readonly atMs: number;
    /** Day of the records, `2026-02-06`, where they are put by it. */
    readonly eventDay: string | undefined;
    readonly unique: string;
  },
): string {
  const iso = new Date(made.atMs).toISOString();
  const { prefix, partitionedBy } = source.target;
  const time = iso.slice(11, 19).replaceAll(':', '-');
  if (partitionedBy === undefined) return `${prefix}${iso.slice(0, 10)}-${time}-${made.unique}`;
  const day = made.eventDay ?? iso.slice(0, 10);
  const name = `${day}-${made.eventDay === undefined ? time : '00-00-00'}-${made.unique}`;
  return `${prefix}${source.owner.id}/${source.region}/${source.bucket}/${day.replaceAll('-', '/')}/${name}`;
}
