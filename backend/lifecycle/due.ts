import type { Tags } from '../backend.ts';
import type { LifecycleFilter, LifecycleRule } from './rules.ts';

const dayMs = 24 * 60 * 60 * 1000;

/** A version, as far as rules look at it. */
export interface RuledVersion {
  readonly key: string;
  readonly mtimeMs: number;
  readonly sizeBytes: number;
  readonly deleteMarker: boolean;
  readonly tags?: Tags | undefined;
}

/** Where a version stands among those of its key. */
export type Position =
  | { readonly newest: true; /** No other version is there. */ readonly alone: boolean }
  | {
      readonly newest: false;
      /** When the version after it was made. */
      readonly noncurrentSinceMs: number;
      /** How many noncurrent versions are newer. */
      readonly newerNoncurrent: number;
    };

/** `hide`: as a deletion without a version id does. `remove`: this very version, for good. */
export type LifecycleAction = 'hide' | 'remove';

/**
 * When something is due that a rule wants so many days after `fromMs`: as S3 has it, at the midnight (UTC) after that
 * time. With a debug day that long, to the millisecond.
 */
export function dueMs(fromMs: number, days: number, debugDayMs?: number): number {
  if (debugDayMs !== undefined) return fromMs + days * debugDayMs;
  return Math.ceil((fromMs + days * dayMs) / dayMs) * dayMs;
}

/** What the rules want done with a version now; undefined: nothing. */
export function actionOf(
  rules: readonly LifecycleRule[],
  version: RuledVersion & { readonly position: Position },
  now: { readonly nowMs: number; readonly debugDayMs: number | undefined },
): LifecycleAction | undefined {
  const { position } = version;
  const due = (fromMs: number, days: number): boolean => now.nowMs >= dueMs(fromMs, days, now.debugDayMs);
  const applying = rules.filter((rule) => rule.enabled && matches(rule.filter, version));
  if (!position.newest) {
    const removed = applying.some(({ noncurrentExpiration: wanted }) => {
      if (wanted === undefined || position.newerNoncurrent < (wanted.newer ?? 0)) return false;
      return due(position.noncurrentSinceMs, wanted.days);
    });
    return removed ? 'remove' : undefined;
  }
  if (version.deleteMarker) {
    const removed = applying.some(({ expiration: wanted }) => {
      if (wanted === undefined || !position.alone) return false;
      if ('deleteMarker' in wanted) return wanted.deleteMarker;
      return 'days' in wanted && due(version.mtimeMs, wanted.days);
    });
    return removed ? 'remove' : undefined;
  }
  const hidden = applying.some(({ expiration: wanted }) => {
    if (wanted === undefined || 'deleteMarker' in wanted) return false;
    return 'days' in wanted ? due(version.mtimeMs, wanted.days) : now.nowMs >= wanted.dateMs;
  });
  return hidden ? 'hide' : undefined;
}

/** Whether a rule wants an upload aborted that was begun at `initiatedMs`. */
export function abortsUpload(
  rules: readonly LifecycleRule[],
  upload: { readonly key: string; readonly initiatedMs: number },
  now: { readonly nowMs: number; readonly debugDayMs: number | undefined },
): boolean {
  return rules.some(({ enabled, filter, abortDays }) => {
    if (!enabled || abortDays === undefined || !upload.key.startsWith(filter.prefix ?? '')) return false;
    return now.nowMs >= dueMs(upload.initiatedMs, abortDays, now.debugDayMs);
  });
}

/** When a current object will expire, and by which rule: the earliest one. Always in real days. */
export function expirationOf(
  rules: readonly LifecycleRule[],
  version: RuledVersion,
): { readonly atMs: number; readonly ruleId: string } | undefined {
  let earliest: { readonly atMs: number; readonly ruleId: string } | undefined;
  for (const { id, enabled, filter, expiration } of rules) {
    if (!enabled || expiration === undefined || 'deleteMarker' in expiration) continue;
    if (!matches(filter, version)) continue;
    const atMs = 'days' in expiration ? dueMs(version.mtimeMs, expiration.days) : expiration.dateMs;
    if (earliest === undefined || atMs < earliest.atMs) earliest = { atMs, ruleId: id };
  }
  return earliest;
}

/** Delete markers have neither tags nor a size: filters by those are not about them. */
function matches(filter: LifecycleFilter, version: RuledVersion): boolean {
  const { prefix = '', tags = [], largerThan, smallerThan } = filter;
  if (!version.key.startsWith(prefix)) return false;
  if (version.deleteMarker && (largerThan !== undefined || smallerThan !== undefined)) return false;
  if (largerThan !== undefined && version.sizeBytes <= largerThan) return false;
  if (smallerThan !== undefined && version.sizeBytes >= smallerThan) return false;
  return tags.every(([key, value]) => version.tags?.get(key) === value);
}

/** The fewest prefixes under which all lies that the rules are about, in order of their UTF-8 bytes. */
export function prefixesOf(rules: readonly LifecycleRule[]): string[] {
  const all = rules.filter(({ enabled }) => enabled).map(({ filter }) => filter.prefix ?? '');
  const sorted = [...new Set(all)].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  return sorted.filter((prefix, i) => !sorted.slice(0, i).some((shorter) => prefix.startsWith(shorter)));
}
