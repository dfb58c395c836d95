import { createHash } from 'node:crypto';

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { keepIndexes, Ring } from './placement.ts';
import type { RingMember } from './placement.ts';

const contents = Array.from({ length: 4000 }, (_, i) => createHash('sha256').update(`content ${i}`).digest());

function members(count: number, perHost = 1): RingMember[] {
  return Array.from({ length: count }, (_, id) => ({ id, host: `host-${Math.floor(id / perHost)}` }));
}

function place(ring: Ring, contentId: Uint8Array, count: number): number[] {
  return ring
    .order(contentId)
    .slice(0, count)
    .map((member) => member.id);
}

function shares(ring: Ring, count: number): Map<number, number> {
  const held = new Map<number, number>();
  for (const id of contents) {
    for (const node of place(ring, id, count)) held.set(node, (held.get(node) ?? 0) + 1);
  }
  return held;
}

describe('Ring', () => {
  it('orders all members, each once, the same whatever order they came in', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.nat(10_000), { minLength: 1, maxLength: 12 }),
        fc.integer({ min: 1, max: 4 }),
        fc.uint8Array({ minLength: 32, maxLength: 32 }),
        (ids, hosts, contentId) => {
          const list = ids.map((id) => ({ id, host: `h${id % hosts}` }));
          const order = new Ring(list).order(contentId);
          expect(order.map((member) => member.id).sort((a, b) => a - b)).toEqual(ids.sort((a, b) => a - b));
          expect(new Ring([...list].reverse()).order(contentId)).toEqual(order);
        },
      ),
      { numRuns: 60 },
    );
  });

  it('spreads over distinct hosts while there are enough, then evenly', () => {
    const ring = new Ring(members(12, 3));
    for (const id of contents.slice(0, 300)) {
      const hosts = ring.order(id).map((member) => member.host);
      expect(new Set(hosts.slice(0, 4)).size).toBe(4);
      expect(new Set(hosts.slice(4, 8)).size).toBe(4);
    }
  });

  it('gives each node its share', () => {
    const held = shares(new Ring(members(10)), 5);
    for (const share of held.values()) expect(Math.abs(share / (contents.length / 2) - 1)).toBeLessThan(0.15);
  });

  it('gives a node of twice the weight about twice the first places', () => {
    const list = members(8).map((member) => ({ ...member, weight: member.id === 3 ? 2 : 1 }));
    const held = shares(new Ring(list), 1);
    const others = (contents.length - held.get(3)!) / 7;
    expect(held.get(3)! / others).toBeGreaterThan(1.7);
    expect(held.get(3)! / others).toBeLessThan(2.3);
  });

  it.each([5, 9, 20])('moves about 1/N of the shards when a member joins %d or leaves again', (count) => {
    const before = new Ring(members(count));
    const after = new Ring(members(count + 1));
    let joined = 0;
    let left = 0;
    let needless = 0;
    for (const id of contents) {
      const old = place(before, id, 5);
      const grown = keepIndexes(old, place(after, id, 5));
      joined += grown.filter((node, i) => node !== old[i]).length;
      needless += grown.filter((node, i) => node !== old[i] && node !== count).length;
      left += keepIndexes(grown, place(before, id, 5)).filter((node, i) => node !== grown[i]).length;
    }
    const share = 1 / (count + 1);
    for (const moved of [joined, left]) {
      expect(moved / (contents.length * 5)).toBeGreaterThan(share * 0.8);
      expect(moved / (contents.length * 5)).toBeLessThan(share * 1.2);
    }
    expect(needless).toBe(0);
  });

  it('refuses wrong weights and doubled ids', () => {
    expect(() => new Ring([{ id: 1, host: 'a', weight: 0 }])).toThrow(RangeError);
    expect(() => new Ring([{ id: 1, host: 'a', weight: Number.NaN }])).toThrow(RangeError);
    expect(
      () =>
        new Ring([
          { id: 1, host: 'a' },
          { id: 1, host: 'b' },
        ]),
    ).toThrow(RangeError);
  });

  it('stays as it is: placements are recorded, but a changed ring would move everything', () => {
    expect(place(new Ring(members(7)), contents[0]!, 7)).toMatchInlineSnapshot(`
      [
        4,
        2,
        3,
        0,
        6,
        5,
        1,
      ]
    `);
    expect(place(new Ring(members(7)), contents[1]!, 7)).toMatchInlineSnapshot(`
      [
        2,
        5,
        6,
        0,
        4,
        1,
        3,
      ]
    `);
  });
});

describe('keepIndexes', () => {
  it('keeps who stays and fills the rest in order', () => {
    expect(keepIndexes([4, 7, 1, null, 9], [1, 2, 4, 3, 9])).toEqual([4, 2, 1, 3, 9]);
    expect(keepIndexes([4, 7, 1], [7])).toEqual([null, 7, null]);
    expect(keepIndexes([null, null], [5, 6])).toEqual([5, 6]);
  });
});
