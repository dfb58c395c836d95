import type { ObjectChange } from '../engine/object_changes.ts';
import type { NotificationRule } from './configuration.ts';

/**
 * The message that a destination gets, in S3's own form.
 * https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
 */
export function eventJson(
  change: ObjectChange,
  context: { readonly rule: NotificationRule; readonly region: string },
): string {
  const { bucket, key, made, origin, versionId } = change;
  const deletion = made === undefined;
  return JSON.stringify({
    Records: [
      {
        eventVersion: '2.1',
        eventSource: 's3d:s3',
        awsRegion: context.region,
        eventTime: new Date(change.atMs).toISOString(),
        eventName: change.event,
        userIdentity: { principalId: origin === undefined ? 's3d' : `AWS:${origin.principalId}` },
        requestParameters: { sourceIPAddress: origin?.sourceAddress ?? '' },
        responseElements: { 'x-amz-request-id': origin?.requestId ?? '' },
        s3: {
          s3SchemaVersion: '1.0',
          configurationId: context.rule.id,
          bucket: {
            name: bucket.name,
            ownerIdentity: { principalId: bucket.owner.id },
            arn: `arn:aws:s3:::${bucket.name}`,
          },
          object: {
            key: formEncoded(key),
            ...(deletion ? {} : { size: made.sizeBytes, eTag: made.etag }),
            ...(versionId === undefined ? {} : { versionId }),
            sequencer: sequencer(change.atMs),
          },
        },
      },
    ],
  });
}

/** Later changes of a key have greater ones, compared as text. */
function sequencer(atMs: number): string {
  return atMs.toString(16).toUpperCase().padStart(16, '0');
}

/** Keys stand in events as in a form: a space is a plus sign, slashes stay. */
function formEncoded(key: string): string {
  return encodeURIComponent(key.toWellFormed())
    .replaceAll('%2F', '/')
    .replaceAll('%20', '+')
    .replace(/[!'()~]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
}
