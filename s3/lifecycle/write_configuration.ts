import {
  decodeLifecycle,
  type Expiration,
  type LifecycleFilter,
  type LifecycleRule,
} from '../../backend/lifecycle/rules.ts';
import { element, parent, root } from '../xml/write.ts';

/** The `<LifecycleConfiguration>` of the setting's text. */
export function lifecycleConfigurationXml(text: string): string {
  return root('LifecycleConfiguration', ...decodeLifecycle(text).map(ruleElement));
}

function ruleElement(rule: LifecycleRule): string {
  const { noncurrentExpiration: noncurrent, abortDays } = rule;
  return parent(
    'Rule',
    element('ID', rule.id),
    filterElement(rule.filter),
    element('Status', rule.enabled ? 'Enabled' : 'Disabled'),
    rule.expiration === undefined ? '' : parent('Expiration', expirationElement(rule.expiration)),
    noncurrent === undefined
      ? ''
      : parent(
          'NoncurrentVersionExpiration',
          element('NoncurrentDays', noncurrent.days),
          element('NewerNoncurrentVersions', noncurrent.newer),
        ),
    abortDays === undefined
      ? ''
      : parent('AbortIncompleteMultipartUpload', element('DaysAfterInitiation', abortDays)),
  );
}

function filterElement(filter: LifecycleFilter): string {
  const prefix = element('Prefix', filter.prefix);
  if (filter.form === 'prefix') return prefix;
  const conditions = [
    prefix,
    ...(filter.tags ?? []).map(([key, value]) => parent('Tag', element('Key', key), element('Value', value))),
    element('ObjectSizeGreaterThan', filter.largerThan),
    element('ObjectSizeLessThan', filter.smallerThan),
  ];
  return parent('Filter', filter.form === 'and' ? parent('And', ...conditions) : conditions.join(''));
}

function expirationElement(expiration: Expiration): string {
  if ('days' in expiration) return element('Days', expiration.days);
  if ('dateMs' in expiration) return element('Date', new Date(expiration.dateMs).toISOString());
  return element('ExpiredObjectDeleteMarker', expiration.deleteMarker);
}
