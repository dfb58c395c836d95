import { randomUUID } from 'node:crypto';
import {
  encodeLifecycle,
  type Expiration,
  type LifecycleFilter,
  type LifecycleRule,
  type NoncurrentExpiration,
} from '../../backend/lifecycle/rules.ts';
import { S3Error } from '../errors.ts';
import { given } from '../request/parameters.ts';
import { readXml, type XmlElement } from '../xml/read.ts';

const maxRules = 1000;
const maxIdLength = 255;
const maxNewerVersions = 100;
const dayMs = 24 * 60 * 60 * 1000;
const iso8601 = /^\d{4}-\d{2}-\d{2}(?:T\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:Z|[+-]\d{2}:\d{2}))?$/;
const ruleElements: ReadonlySet<string> = new Set([
  ...['ID', 'Status', 'Prefix', 'Filter', 'Expiration', 'NoncurrentVersionExpiration'],
  ...['AbortIncompleteMultipartUpload', 'Transition', 'NoncurrentVersionTransition'],
]);

/**
 * Reads a `<LifecycleConfiguration>`.
 * @returns the text of the setting.
 * @throws S3Error MalformedXML, InvalidArgument, InvalidRequest; NotImplemented for transitions.
 */
export function readLifecycleConfiguration(xml: Uint8Array): string {
  const rules = readXml(xml, 'LifecycleConfiguration').all('Rule').map(readRule);
  if (rules.length === 0 || rules.length > maxRules) throw new S3Error('MalformedXML');
  if (new Set(rules.map(({ id }) => id)).size < rules.length) {
    throw invalid('RuleId must be unique. Found same ID for more than one rule');
  }
  return encodeLifecycle(rules);
}

function readRule(rule: XmlElement): LifecycleRule {
  if (rule.names.some((name) => !ruleElements.has(name))) throw new S3Error('MalformedXML');
  const id = rule.text('ID') ?? '';
  if (id.length > maxIdLength) throw invalid('ID length should not exceed allowed limit of 255');
  const status = rule.requiredText('Status').trim();
  if (status !== 'Enabled' && status !== 'Disabled') throw new S3Error('MalformedXML');
  const filter = readFilter(rule);
  const expiration = readExpiration(one(rule, 'Expiration'));
  const noncurrentExpiration = readNoncurrent(one(rule, 'NoncurrentVersionExpiration'));
  const abort = one(rule, 'AbortIncompleteMultipartUpload');
  const abortDays =
    abort === undefined
      ? undefined
      : positive(
          abort.requiredText('DaysAfterInitiation'),
          "'DaysAfterInitiation' for AbortIncompleteMultipartUpload action",
        );
  checkTransitions(rule);
  if (expiration === undefined && noncurrentExpiration === undefined && abortDays === undefined) {
    throw new S3Error('InvalidRequest', 'At least one action needs to be specified in a rule');
  }
  const byTags = filter.tags !== undefined;
  const bySize = filter.largerThan !== undefined || filter.smallerThan !== undefined;
  if (abortDays !== undefined && (byTags || bySize)) {
    throw new S3Error(
      'InvalidRequest',
      'AbortIncompleteMultipartUpload cannot be specified with Tags or object sizes.',
    );
  }
  if (expiration !== undefined && 'deleteMarker' in expiration && (byTags || bySize)) {
    throw new S3Error(
      'InvalidRequest',
      'ExpiredObjectDeleteMarker cannot be specified with Tags or object sizes.',
    );
  }
  return {
    id: id === '' ? randomUUID() : id,
    enabled: status === 'Enabled',
    filter,
    ...given('expiration', expiration),
    ...given('noncurrentExpiration', noncurrentExpiration),
    ...given('abortDays', abortDays),
  };
}

/**
 * The prefix beside the status, as older clients write it, or the filter. S3 wants one condition in a filter, or several
 * in an `And`; where both come, all of them must hold, so that never more is deleted than any of them says.
 */
function readFilter(rule: XmlElement): LifecycleFilter {
  const filter = one(rule, 'Filter');
  const prefix = rule.text('Prefix');
  if ((filter === undefined) === (prefix === undefined)) throw new S3Error('MalformedXML');
  if (filter === undefined) return { form: 'prefix', ...given('prefix', prefix) };
  const and = one(filter, 'And');
  const known = ['Prefix', 'Tag', 'ObjectSizeGreaterThan', 'ObjectSizeLessThan'];
  if (filter.names.some((name) => name !== 'And' && !known.includes(name))) throw new S3Error('MalformedXML');
  if (and?.names.some((name) => !known.includes(name)) === true) throw new S3Error('MalformedXML');
  const parts = and === undefined ? [filter] : [filter, and];
  if (parts.some((part) => part !== and && part.all('Tag').length > 1)) throw new S3Error('MalformedXML');
  const tags = parts.flatMap((part) => part.all('Tag')).map(readTag);
  if (new Set(tags.map(([key]) => key)).size < tags.length) {
    throw new S3Error('InvalidRequest', 'Duplicate Tag Keys are not allowed.');
  }
  const largerThan = bytesOf(parts, 'ObjectSizeGreaterThan');
  const smallerThan = bytesOf(parts, 'ObjectSizeLessThan');
  if (largerThan !== undefined && smallerThan !== undefined && largerThan + 1 >= smallerThan) {
    throw new S3Error(
      'InvalidRequest',
      "'ObjectSizeGreaterThan' must be at least two bytes less than 'ObjectSizeLessThan'",
    );
  }
  const isAnd = and !== undefined || filter.names.length > 1;
  return {
    form: isAnd ? 'and' : 'filter',
    ...given('prefix', narrowest(parts.flatMap((part) => part.text('Prefix') ?? []))),
    ...given('tags', tags.length === 0 ? undefined : tags),
    ...given('largerThan', largerThan),
    ...given('smallerThan', smallerThan),
  };
}

function narrowest(prefixes: readonly string[]): string | undefined {
  const [longest] = prefixes.toSorted((a, b) => b.length - a.length);
  if (longest !== undefined && !prefixes.every((prefix) => longest.startsWith(prefix))) {
    throw new S3Error('MalformedXML');
  }
  return longest;
}

function readTag(tag: XmlElement): [string, string] {
  const key = tag.requiredText('Key');
  const value = tag.requiredText('Value');
  if (key === '' || Array.from(key).length > 128) throw invalid('The TagKey you have provided is invalid');
  if (Array.from(value).length > 256) throw invalid('The TagValue you have provided is invalid');
  return [key, value];
}

function bytesOf(parts: readonly XmlElement[], name: string): number | undefined {
  const [text, ...others] = parts.flatMap((part) => part.text(name) ?? []);
  if (text === undefined) return undefined;
  if (others.length > 0 || !/^\d{1,15}$/.test(text.trim())) throw new S3Error('MalformedXML');
  return Number(text);
}

function readExpiration(expiration: XmlElement | undefined): Expiration | undefined {
  if (expiration === undefined) return undefined;
  const days = expiration.text('Days');
  const date = expiration.text('Date');
  const marker = expiration.text('ExpiredObjectDeleteMarker')?.trim().toLowerCase();
  if ([days, date, marker].filter((text) => text !== undefined).length !== 1) {
    throw new S3Error('MalformedXML');
  }
  if (days !== undefined) return { days: positive(days, "'Days' for Expiration action") };
  if (date !== undefined) return { dateMs: midnight(date) };
  if (marker !== 'true' && marker !== 'false') throw new S3Error('MalformedXML');
  return { deleteMarker: marker === 'true' };
}

function readNoncurrent(expiration: XmlElement | undefined): NoncurrentExpiration | undefined {
  if (expiration === undefined) return undefined;
  const action = 'NoncurrentVersionExpiration action';
  const days = positive(expiration.requiredText('NoncurrentDays'), `'NoncurrentDays' for ${action}`);
  const text = expiration.text('NewerNoncurrentVersions');
  if (text === undefined) return { days };
  const newer = positive(text, `'NewerNoncurrentVersions' for ${action}`);
  if (newer > maxNewerVersions) {
    throw invalid(`'NewerNoncurrentVersions' for ${action} must be at most ${maxNewerVersions}`);
  }
  return { days, newer };
}

/** Moving objects between storage classes isn't there: a rule that asks for it is refused, not forgotten. */
function checkTransitions(rule: XmlElement): void {
  const transitions = [...rule.all('Transition'), ...rule.all('NoncurrentVersionTransition')];
  if (transitions.length === 0) return;
  for (const transition of transitions) {
    const date = transition.text('Date');
    if (date !== undefined) midnight(date);
    if (transition.text('StorageClass') === undefined) throw new S3Error('MalformedXML');
  }
  throw new S3Error('NotImplemented', 'Transitions between storage classes are not implemented.', {
    Element: 'Transition',
  });
}

function one(parent: XmlElement, name: string): XmlElement | undefined {
  const [child, ...others] = parent.all(name);
  if (others.length > 0) throw new S3Error('MalformedXML');
  return child;
}

function positive(text: string, what: string): number {
  const trimmed = text.trim();
  if (!/^-?\d{1,9}$/.test(trimmed)) throw new S3Error('MalformedXML');
  const number = Number(trimmed);
  if (number < 1) throw invalid(`${what} must be a positive integer`);
  return number;
}

function midnight(text: string): number {
  const trimmed = text.trim();
  const timeMs = iso8601.test(trimmed) ? Date.parse(trimmed) : Number.NaN;
  if (Number.isNaN(timeMs)) throw new S3Error('MalformedXML');
  if (timeMs % dayMs !== 0) throw invalid("'Date' must be at midnight GMT");
  return timeMs;
}

function invalid(message: string): S3Error {
  return new S3Error('InvalidArgument', message);
}
