import { randomUUID } from 'node:crypto';
import {
  destinationOfArn,
  isForeignEvent,
  isKnownEvent,
  notificationRulesOf,
  rulesOverlap,
  type NotificationKind,
  type NotificationRule,
} from '../../backend/notifications/configuration.ts';
import { S3Error } from '../errors.ts';
import type { Services } from '../exchange.ts';
import type { Operation } from '../operation.ts';
import { readXml, type XmlElement } from '../xml/read.ts';
import { element, parent, root } from '../xml/write.ts';
import { getSetting, putSetting } from './bucket_setting.ts';

const maxRules = 100;
const maxIdLength = 255;
const maxFilterBytes = 1024;

/** The elements of a rule, of each of S3's three kinds of destination. */
const kinds: readonly { readonly kind: NotificationKind; readonly rule: string; readonly arn: string }[] = [
  { kind: 'topic', rule: 'TopicConfiguration', arn: 'Topic' },
  { kind: 'queue', rule: 'QueueConfiguration', arn: 'Queue' },
  { kind: 'function', rule: 'CloudFunctionConfiguration', arn: 'CloudFunction' },
];

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketNotificationConfiguration.html */
export const putBucketNotification: Operation = putSetting('PutBucketNotificationConfiguration', {
  setting: 'notification',
  action: 's3:PutBucketNotification',
  digestRequired: false,
  read: (xml, call) => readNotificationConfiguration(xml, call.services.notifications),
});

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketNotificationConfiguration.html */
export const getBucketNotification: Operation = getSetting('GetBucketNotificationConfiguration', {
  setting: 'notification',
  action: 's3:GetBucketNotification',
  write: notificationXml,
  absent: () => root('NotificationConfiguration'),
});

/** @throws S3Error MalformedXML, InvalidArgument, NotImplemented */
function readNotificationConfiguration(
  xml: Uint8Array,
  destinations: Services['notifications'],
): string | undefined {
  const document = readXml(xml, 'NotificationConfiguration');
  for (const name of document.names) {
    if (kinds.some(({ rule }) => rule === name)) continue;
    if (name === 'EventBridgeConfiguration') throw new S3Error('NotImplemented', '', { Element: name });
    throw new S3Error('MalformedXML');
  }
  const rules = kinds.flatMap(({ kind, rule, arn }) =>
    document.all(rule).map((child) => readRule(child, { kind, arn })),
  );
  if (rules.length > maxRules) throw new S3Error('MalformedXML');
  if (new Set(rules.map(({ id }) => id)).size < rules.length) {
    throw new S3Error('InvalidArgument', 'Same ID used for multiple configurations. IDs must be unique.');
  }
  for (const { arn } of rules) checkDestination(arn, destinations);
  for (const [at, rule] of rules.entries()) {
    if (rules.slice(at + 1).some((other) => rulesOverlap(rule, other))) {
      throw new S3Error(
        'InvalidArgument',
        'Configurations overlap. Configurations on the same bucket cannot share a common event type.',
      );
    }
  }
  return rules.length === 0 ? undefined : JSON.stringify(rules);
}

function checkDestination(arn: string, destinations: Services['notifications']): void {
  const destination = destinationOfArn(arn);
  if (destination !== undefined && destinations.get(destination.name) === destination.type) return;
  throw new S3Error(
    'InvalidArgument',
    'Unable to validate the following destination configurations: the ARN names no [[notifications]] of this store.',
    { ArgumentName: 'Arn', ArgumentValue: arn },
  );
}

function readRule(
  child: XmlElement,
  options: { readonly kind: NotificationKind; readonly arn: string },
): NotificationRule {
  const known = ['Id', 'Event', 'Filter', options.arn];
  if (child.names.some((name) => !known.includes(name))) throw new S3Error('MalformedXML');
  const id = child.text('Id') ?? randomUUID();
  const events = child.texts('Event');
  if (events.length === 0 || id.length > maxIdLength) throw new S3Error('MalformedXML');
  for (const event of events) {
    if (isKnownEvent(event)) continue;
    if (isForeignEvent(event)) throw new S3Error('NotImplemented', '', { Event: event });
    throw new S3Error('InvalidArgument', `The event '${event}' is not supported for notifications`, {
      ArgumentName: 'Event',
      ArgumentValue: event,
    });
  }
  return {
    id,
    kind: options.kind,
    arn: child.requiredText(options.arn).trim(),
    events,
    ...readFilter(child),
  };
}

/** At most one prefix and one suffix. */
function readFilter(child: XmlElement): { readonly prefix: string; readonly suffix: string } {
  const found = new Map<string, string>();
  const rules = child
    .all('Filter')
    .flatMap((filter) => filter.all('S3Key'))
    .flatMap((key) => key.all('FilterRule'));
  for (const rule of rules) {
    const name = rule.requiredText('Name').toLowerCase();
    const value = rule.text('Value') ?? '';
    if (name !== 'prefix' && name !== 'suffix') {
      throw new S3Error('InvalidArgument', 'filter rule name must be either prefix or suffix', {
        ArgumentName: 'FilterRule.Name',
        ArgumentValue: name,
      });
    }
    if (found.has(name)) {
      throw new S3Error('InvalidArgument', `Cannot specify more than one ${name} rule in a filter.`);
    }
    if (Buffer.byteLength(value) > maxFilterBytes) {
      throw new S3Error('InvalidArgument', 'Size of filter rule value cannot exceed 1024 bytes in UTF-8');
    }
    found.set(name, value);
  }
  return { prefix: found.get('prefix') ?? '', suffix: found.get('suffix') ?? '' };
}

function notificationXml(setting: string): string {
  const rules = notificationRulesOf(setting).map((rule) => {
    const names = kinds.find(({ kind }) => kind === rule.kind) ?? kinds[0];
    const filters = (['prefix', 'suffix'] as const)
      .filter((name) => rule[name] !== '')
      .map((name) => parent('FilterRule', element('Name', name), element('Value', rule[name])));
    return parent(
      names?.rule ?? '',
      element('Id', rule.id),
      element(names?.arn ?? '', rule.arn),
      ...rule.events.map((event) => element('Event', event)),
      filters.length === 0 ? '' : parent('Filter', parent('S3Key', ...filters)),
    );
  });
  return root('NotificationConfiguration', ...rules);
}
