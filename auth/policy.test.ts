import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isGranted, matchesWildcard } from './policy.ts';

describe('matchesWildcard', () => {
  test('agrees with a regular expression', () => {
    const letters = fc.constantFrom('a', 'b', '.', '*', '?');
    const pattern = fc.string({ unit: letters, maxLength: 8 });
    const text = fc.string({ unit: fc.constantFrom('a', 'b', '.', '*', '\n'), maxLength: 10 });
    fc.assert(
      fc.property(pattern, text, (p, t) => {
        const source = p.replace(/[.]/g, '\\.').replace(/\*/g, '.*').replace(/\?/g, '.');
        expect(matchesWildcard(p, t)).toBe(new RegExp(`^${source}$`, 's').test(t));
      }),
      { numRuns: 2000 },
    );
  });

  test('takes no time to speak of for hostile patterns', () => {
    const startMs = performance.now();
    expect(matchesWildcard(`${'a*'.repeat(1000)}b`, 'a'.repeat(10_000))).toBe(false);
    expect(performance.now() - startMs).toBeLessThan(2000);
  });
});

describe('isGranted', () => {
  const policy = [
    { bucket: 'logs-*', actions: ['s3:Get*', 's3:ListBucket'] },
    { bucket: 'team-?', actions: ['s3:*'] },
  ];

  test.each([
    ['s3:GetObject', 'logs-2026', true],
    ['s3:getobject', 'logs-2026', true],
    ['s3:PutObject', 'logs-2026', false],
    ['s3:GetObject', 'Logs-2026', false],
    ['s3:GetObject', 'xlogs-2026', false],
    ['s3:PutObject', 'team-a', true],
    ['s3:PutObject', 'team-ab', false],
    ['s3:ListBucket', 'logs-', true],
    ['s3:ListBucketVersions', 'logs-', false],
    ['s3:ListAllMyBuckets', '', false],
  ])('%s on %j: %s', (action, bucket, expected) => {
    expect(isGranted(policy, action, bucket)).toBe(expected);
  });

  test('grants nothing without a grant, and all with stars', () => {
    expect(isGranted([], 's3:GetObject', 'b')).toBe(false);
    expect(isGranted([{ bucket: '*', actions: [] }], 's3:GetObject', 'b')).toBe(false);
    expect(isGranted([{ bucket: '*', actions: ['s3:*'] }], 's3:ListAllMyBuckets', '')).toBe(true);
    expect(isGranted([{ bucket: '*', actions: ['*'] }], 's3:GetObject', 'b')).toBe(true);
  });
});
