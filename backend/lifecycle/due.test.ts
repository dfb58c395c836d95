import { describe, expect, it } from 'vitest';
import { abortsUpload, actionOf, dueMs, expirationOf, prefixesOf, type RuledVersion } from './due.ts';
import type { LifecycleFilter, LifecycleRule } from './rules.ts';

const dayMs = 24 * 60 * 60 * 1000;
const madeMs = Date.UTC(2026, 0, 1, 13, 30);
const version: RuledVersion = { key: 'logs/a', mtimeMs: madeMs, sizeBytes: 100, deleteMarker: false };
const newest = { newest: true, alone: true } as const;

function rule(more: Partial<LifecycleRule>, filter: Partial<LifecycleFilter> = {}): LifecycleRule {
  return { id: 'r', enabled: true, filter: { form: 'filter', ...filter }, ...more };
}
const at = (nowMs: number) => ({ nowMs, debugDayMs: undefined });

describe('dueMs', () => {
  it('is the midnight after so many days, or to the millisecond with a debug day', () => {
    expect(dueMs(madeMs, 1)).toBe(Date.UTC(2026, 0, 3));
    expect(dueMs(Date.UTC(2026, 0, 1), 1)).toBe(Date.UTC(2026, 0, 2));
    expect(dueMs(madeMs, 3, 10_000)).toBe(madeMs + 30_000);
  });
});

describe('actionOf', () => {
  it('hides a current object when it is due, not a millisecond before', () => {
    const rules = [rule({ expiration: { days: 1 } })];
    const dueAt = Date.UTC(2026, 0, 3);
    expect(actionOf(rules, { ...version, position: newest }, at(dueAt - 1))).toBeUndefined();
    expect(actionOf(rules, { ...version, position: newest }, at(dueAt))).toBe('hide');
    const onDate = [rule({ expiration: { dateMs: dueAt } })];
    expect(actionOf(onDate, { ...version, position: newest }, at(dueAt - 1))).toBeUndefined();
    expect(actionOf(onDate, { ...version, position: newest }, at(dueAt))).toBe('hide');
    const off = [rule({ enabled: false, expiration: { days: 1 } })];
    expect(actionOf(off, { ...version, position: newest }, at(dueAt))).toBeUndefined();
  });

  it('looks at all conditions of a filter', () => {
    const tags = new Map([
      ['a', '1'],
      ['b', '2'],
    ]);
    const cases: [Partial<LifecycleFilter>, boolean][] = [
      [{ prefix: 'logs/' }, true],
      [{ prefix: 'log/' }, false],
      [{ tags: [['a', '1']] }, true],
      [{ tags: [['a', '2']] }, false],
      [{ tags: [['a', '1'], ['c', '']] }, false], // prettier-ignore
      [{ largerThan: 99, smallerThan: 101 }, true],
      [{ largerThan: 100 }, false],
      [{ smallerThan: 100 }, false],
    ];
    for (const [filter, applies] of cases) {
      const rules = [rule({ expiration: { days: 1 } }, filter)];
      const action = actionOf(rules, { ...version, tags, position: newest }, at(madeMs + 9 * dayMs));
      expect([filter, action]).toEqual([filter, applies ? 'hide' : undefined]);
    }
  });

  it('counts a noncurrent version’s days from when the next was made, and keeps the newest ones', () => {
    const rules = [rule({ noncurrentExpiration: { days: 1, newer: 2 } })];
    const noncurrent = (noncurrentSinceMs: number, newerNoncurrent: number) => ({
      ...version,
      mtimeMs: madeMs - 100 * dayMs,
      position: { newest: false, noncurrentSinceMs, newerNoncurrent } as const,
    });
    const now = at(Date.UTC(2026, 0, 3));
    expect(actionOf(rules, noncurrent(madeMs, 2), now)).toBe('remove');
    expect(actionOf(rules, noncurrent(madeMs, 1), now)).toBeUndefined();
    expect(actionOf(rules, noncurrent(madeMs + dayMs, 2), now)).toBeUndefined();
    expect(actionOf([rule({ expiration: { days: 1 } })], noncurrent(madeMs, 2), now)).toBeUndefined();
  });

  it('removes a delete marker only where nothing else is left', () => {
    const marker = { ...version, deleteMarker: true, sizeBytes: 0 };
    const alone = { ...marker, position: newest };
    const above = { ...marker, position: { newest: true, alone: false } as const };
    const now = at(madeMs + 9 * dayMs);
    const rules = [rule({ expiration: { deleteMarker: true } })];
    expect(actionOf(rules, alone, now)).toBe('remove');
    expect(actionOf(rules, above, now)).toBeUndefined();
    expect(actionOf([rule({ expiration: { deleteMarker: false } })], alone, now)).toBeUndefined();
    expect(actionOf([rule({ expiration: { days: 9 } })], alone, now)).toBeUndefined();
    expect(actionOf([rule({ expiration: { days: 8 } })], alone, now)).toBe('remove');
    expect(actionOf([rule({ expiration: { days: 8 } }, { smallerThan: 9 })], alone, now)).toBeUndefined();
    expect(actionOf([rule({ expiration: { dateMs: 0 } })], alone, now)).toBeUndefined();
  });
});

describe('expirationOf', () => {
  it('tells the earliest rule', () => {
    const rules = [
      rule({ id: 'late', expiration: { days: 9 } }),
      rule({ id: 'early', expiration: { days: 2 } }),
      rule({ id: 'elsewhere', expiration: { days: 1 } }, { prefix: 'x' }),
      rule({ id: 'marker', expiration: { deleteMarker: true } }),
    ];
    expect(expirationOf(rules, version)).toEqual({ atMs: Date.UTC(2026, 0, 4), ruleId: 'early' });
    expect(expirationOf([], version)).toBeUndefined();
  });
});

describe('abortsUpload', () => {
  it('by prefix and days since it began', () => {
    const rules = [rule({ abortDays: 1 }, { prefix: 'logs/' })];
    const now = at(madeMs + 2 * dayMs);
    expect(abortsUpload(rules, { key: 'logs/a', initiatedMs: madeMs }, now)).toBe(true);
    expect(abortsUpload(rules, { key: 'other', initiatedMs: madeMs }, now)).toBe(false);
    expect(abortsUpload(rules, { key: 'logs/a', initiatedMs: madeMs + dayMs }, now)).toBe(false);
  });
});

describe('prefixesOf', () => {
  it('are the fewest that cover the enabled rules', () => {
    const rules = ['b/', 'a/x', 'a/', 'b/'].map((prefix) => rule({}, { prefix }));
    expect(prefixesOf(rules)).toEqual(['a/', 'b/']);
    expect(prefixesOf([...rules, rule({ enabled: false }, { prefix: '' })])).toEqual(['a/', 'b/']);
    expect(prefixesOf([...rules, rule({})])).toEqual(['']);
  });
});
