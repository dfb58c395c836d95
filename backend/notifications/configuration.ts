import type { ObjectEvent } from '../engine/object_changes.ts';

/** One rule of a bucket's `notification` setting, whose text is an array of them as JSON. */
export interface NotificationRule {
  readonly id: string;
  /** `topic`, `queue` or `function`: what S3 calls the element that it came in. */
  readonly kind: NotificationKind;
  readonly arn: string;
  /** `s3:ObjectCreated:*` and its like. */
  readonly events: readonly string[];
  readonly prefix: string;
  readonly suffix: string;
}

export type NotificationKind = 'topic' | 'queue' | 'function';

/** What happens here, by S3's names; of each family all events may be asked for with `*`. */
const families: Readonly<Record<string, readonly string[]>> = {
  ObjectCreated: ['Put', 'Post', 'Copy', 'CompleteMultipartUpload'],
  ObjectRemoved: ['Delete', 'DeleteMarkerCreated'],
  LifecycleExpiration: ['Delete', 'DeleteMarkerCreated'],
};

/** What S3 knows and never happens here: asking for it is refused, since nothing would ever come. */
const otherFamilies =
  /^s3:(?:ReducedRedundancyLostObject|TestEvent|(?:ObjectRestore|Replication|ObjectTagging|ObjectAcl|LifecycleTransition|IntelligentTiering|ObjectAnnotation)(?::.*)?)$/;

export function isKnownEvent(name: string): boolean {
  const [, family = '', kind = ''] = /^s3:([A-Za-z]+):([A-Za-z]+|\*)$/.exec(name) ?? [];
  const kinds = Object.hasOwn(families, family) ? families[family] : undefined;
  return kinds !== undefined && (kind === '*' || kinds.includes(kind));
}

export function isForeignEvent(name: string): boolean {
  return otherFamilies.test(name);
}

export function notificationRulesOf(setting: string): readonly NotificationRule[] {
  return JSON.parse(setting) as readonly NotificationRule[];
}

/** Whether the rule asks for this event of this key. */
export function ruleMatches(
  rule: NotificationRule,
  change: { readonly event: ObjectEvent; readonly key: string },
): boolean {
  return (
    rule.events.some((name) => eventMatches(name, `s3:${change.event}`)) &&
    change.key.startsWith(rule.prefix) &&
    change.key.endsWith(rule.suffix)
  );
}

function eventMatches(asked: string, event: string): boolean {
  return asked === event || (asked.endsWith(':*') && event.startsWith(asked.slice(0, -1)));
}

/** Whether one event could match both rules: S3 refuses such configurations. */
export function rulesOverlap(one: NotificationRule, other: NotificationRule): boolean {
  const sameEvent = one.events.some((a) =>
    other.events.some((b) => eventMatches(a, b) || eventMatches(b, a)),
  );
  const samePrefix = one.prefix.startsWith(other.prefix) || other.prefix.startsWith(one.prefix);
  const sameSuffix = one.suffix.endsWith(other.suffix) || other.suffix.endsWith(one.suffix);
  return sameEvent && samePrefix && sameSuffix;
}

/** `arn:s3d:sqs::NAME:TYPE`; service and region may be any that S3's clients accept. */
export function destinationOfArn(arn: string): { readonly name: string; readonly type: string } | undefined {
  const match = /^arn:s3d:(?:sqs|sns|lambda):[a-z0-9-]*:([A-Za-z0-9_-]{1,64}):([a-z]+)$/.exec(arn);
  if (match?.[1] === undefined || match[2] === undefined) return undefined;
  return { name: match[1], type: match[2] };
}
