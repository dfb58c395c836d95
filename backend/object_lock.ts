import type { Bucket, Retention } from './backend.ts';

/** What the setting `object-lock` says, as JSON. The setting is there on every bucket that has object lock. */
export interface LockConfiguration {
  /** What a version gets that comes with no retention of its own. */
  readonly defaultRetention?: DefaultRetention;
}

export interface DefaultRetention {
  readonly mode: Retention['mode'];
  readonly unit: 'Days' | 'Years';
  readonly count: number;
}

const dayMs = 24 * 60 * 60 * 1000;

export function encodeLockConfiguration(configuration: LockConfiguration): string {
  return JSON.stringify(configuration);
}

/** Undefined where the bucket has no object lock. */
export function lockConfigurationOf(bucket: Pick<Bucket, 'settings'>): LockConfiguration | undefined {
  const text = bucket.settings.get('object-lock');
  return text === undefined ? undefined : parseLockConfiguration(text);
}

/** Of the setting's text, as `encodeLockConfiguration` makes it. */
export function parseLockConfiguration(text: string): LockConfiguration {
  return JSON.parse(text) as LockConfiguration;
}

/** The retention by default of a version that is made at `madeMs`. */
export function defaultRetentionAt(bucket: Pick<Bucket, 'settings'>, madeMs: number): Retention | undefined {
  const retention = lockConfigurationOf(bucket)?.defaultRetention;
  if (retention === undefined) return undefined;
  const { mode, unit, count } = retention;
  if (unit === 'Days') return { mode, untilMs: madeMs + count * dayMs };
  const until = new Date(madeMs);
  until.setUTCFullYear(until.getUTCFullYear() + count);
  return { mode, untilMs: until.getTime() };
}
