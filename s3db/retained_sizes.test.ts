import { describe, expect, it } from 'vitest';
import { RetainedSizes } from './retained_sizes.ts';

/** A log with entries 1 to `count`, each of 100 bytes with what surrounds its data. */
function log(count: number): RetainedSizes {
  const sizes = new RetainedSizes(0);
  const data = new Uint8Array(0);
  sizes.append(Array.from({ length: count }, (_, i) => ({ term: 1, index: i + 1, type: 'command', data })));
  return sizes;
}
const retention = { entries: 10, bytes: 1e6, catchUp: { entries: 50, bytes: 1e6 } };

describe('where a log is compacted', () => {
  it('begins at twice what is to stay, and leaves that much', () => {
    expect(log(20).compactionPoint(20, retention)).toBeUndefined();
    expect(log(21).compactionPoint(21, retention)).toBe(11);
    expect(log(30).compactionPoint(30, { entries: 1000, bytes: 1000 })).toBe(20);
  });

  it('is never beyond what is applied', () => {
    expect(log(40).compactionPoint(5, retention)).toBe(5);
  });

  it('is worth it for a quarter of what is to stay, not for each entry behind a bound', () => {
    const needed = (): number => 0;
    expect(log(52).compactionPoint(52, retention, needed)).toBeUndefined();
    expect(log(53).compactionPoint(53, retention, needed)).toBe(3);
    const byBytes = { entries: 1000, bytes: 1000, catchUp: { entries: 1000, bytes: 5000 } };
    expect(log(52).compactionPoint(52, byBytes, needed)).toBeUndefined();
    expect(log(53).compactionPoint(53, byBytes, needed)).toBe(3);
  });

  it('is not beyond what a follower has that catches up, until it has fallen behind too far', () => {
    expect(log(40).compactionPoint(40, retention, () => 7)).toBe(7);
    expect(log(40).compactionPoint(40, retention, () => 0)).toBeUndefined();
    expect(log(40).compactionPoint(40, retention, () => 35)).toBe(30);
    expect(log(70).compactionPoint(70, retention, () => 7)).toBe(20);
    expect(
      log(70).compactionPoint(70, { ...retention, catchUp: { entries: 50, bytes: 3000 } }, () => 7),
    ).toBe(40);
  });
});
