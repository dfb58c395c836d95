import { randomBytes } from 'node:crypto';

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { UnavailableError } from '../../s3db/errors.ts';
import { ContentDamagedError, ContentMissingError } from '../data_store.ts';
import { decodeLocator } from './locator.ts';
import {
  chunks,
  get,
  holder,
  openCluster,
  put,
  quickTiming,
  repairs,
  shardCount,
} from './testing/cluster.ts';

const mib = 1024 * 1024;
const stripe = 3 * 256 * 1024;

describe('content of any size', () => {
  it('comes back as it was written', async () => {
    const { store, nodes } = await openCluster({ data: 3, parity: 2 });
    for (const size of [
      0,
      1,
      2,
      3,
      4,
      5,
      31,
      32,
      33,
      100,
      4096,
      65_537,
      stripe - 1,
      stripe,
      stripe + 1,
      stripe + 2,
      2 * stripe - 1,
      2 * stripe,
      2 * stripe + 5,
      6 * stripe,
      6 * stripe + 1,
      11 * stripe + 7,
    ]) {
      const bytes = randomBytes(size);
      for (const options of [{}, { sizeBytes: size }]) {
        const { locator, sizeBytes, operations } = await put(store, bytes, options);
        expect(sizeBytes).toBe(size);
        expect(operations).toEqual([]);
        expect((await get(store, locator)).equals(bytes)).toBe(true);
      }
    }
    expect(nodes.every((node) => node.active === 0)).toBe(true);
    await store.close();
  });

  it('comes back under every shape of code', async () => {
    for (const [data, parity] of [
      [1, 0],
      [1, 1],
      [1, 3],
      [2, 1],
      [4, 0],
      [5, 3],
      [10, 4],
      [40, 10],
    ] as const) {
      const { store } = await openCluster({ data, parity });
      for (const size of [1, data, data + 1, 100_000, data * 256 * 1024 + 1]) {
        const bytes = randomBytes(size);
        const { locator } = await put(store, bytes);
        expect((await get(store, locator)).equals(bytes)).toBe(true);
      }
      await store.close();
    }
  });

  it('takes big blocks when it is known to be big', async () => {
    const { store } = await openCluster({ data: 3, parity: 2 });
    const bytes = randomBytes(65 * mib);
    const { locator } = await put(store, bytes);
    expect(decodeLocator(locator).blockSizeBytes).toBe(mib / 2);
    expect((await get(store, locator)).equals(bytes)).toBe(true);
    await store.close();
  });

  it('stores the shards that the format describes', async () => {
    const { store, nodes } = await openCluster({ data: 2, parity: 1 });
    const bytes = Buffer.from('abcdefg');
    const { locator } = await put(store, bytes);
    const shards = decodeLocator(locator).placement.map((id) => {
      const [stored] = [...nodes[id!]!.shards.values()];
      return Buffer.concat(stored!.blocks);
    });
    expect(shards.slice(0, 2).map((shard) => shard.toString('latin1'))).toEqual(['abcd', 'efg\0']);
    await store.close();
  });
});

describe('ranges', () => {
  it('give what the content holds there, whole or degraded', async () => {
    const cluster = await openCluster({ data: 3, parity: 2 });
    const bytes = randomBytes(7 * stripe + 1234);
    const { locator } = await put(cluster.store, bytes);
    const near = fc
      .tuple(
        fc.constantFrom(0, 1, 2, 5, 6, 7),
        fc.integer({ min: -3, max: 3 }),
        fc.constantFrom(0, 262_144, 524_288),
      )
      .map(([n, d, block]) => Math.min(Math.max(n * stripe + block + d, 0), bytes.length));
    const place = fc.oneof(near, fc.nat(bytes.length));
    await fc.assert(
      fc.asyncProperty(place, place, fc.uniqueArray(fc.nat(4), { maxLength: 2 }), async (a, b, lost) => {
        const offset = Math.min(a, b);
        const lengthBytes = Math.max(a, b) - offset;
        for (const index of lost) holder(cluster, locator, index).die();
        try {
          const got = await get(cluster.store, locator, { range: { offset, lengthBytes } });
          expect(got.equals(bytes.subarray(offset, offset + lengthBytes))).toBe(true);
        } finally {
          for (const node of cluster.nodes) node.resume();
        }
      }),
      { numRuns: 150 },
    );
    await cluster.store.close();
  });

  it('touch only the stripes and blocks that they need', async () => {
    const cluster = await openCluster({ data: 3, parity: 2 });
    const { locator } = await put(cluster.store, randomBytes(8 * stripe));
    const sent = (): number => cluster.nodes.reduce((sum, node) => sum + node.sentBytes, 0);
    await get(cluster.store, locator, { range: { offset: 5 * stripe + 262_144 + 10, lengthBytes: 100 } });
    expect(sent()).toBe(100);
    await get(cluster.store, locator, { range: { offset: 3 * stripe - 5, lengthBytes: stripe + 10 } });
    expect(sent() - 100).toBe(5 + stripe + 5);
    await cluster.store.close();
  });

  it.each([
    { offset: 0, lengthBytes: 11 },
    { offset: 11, lengthBytes: 0 },
    { offset: -1, lengthBytes: 1 },
  ])('outside the content are refused: %o', async (range) => {
    const { store } = await openCluster({ data: 2, parity: 1 });
    const { locator } = await put(store, randomBytes(10));
    await expect(store.read(locator, { range })).rejects.toThrow(RangeError);
    await store.close();
  });
});

describe('losses', () => {
  it('of any M shards cost nothing, and are queued for repair', async () => {
    for (let a = 0; a < 5; a += 1) {
      for (let b = a + 1; b < 5; b += 1) {
        const cluster = await openCluster({ data: 3, parity: 2 });
        const bytes = randomBytes(6 * stripe + 999);
        const { locator } = await put(cluster.store, bytes);
        for (const index of [a, b]) holder(cluster, locator, index).shards.clear();
        expect((await get(cluster.store, locator)).equals(bytes)).toBe(true);
        await cluster.store.close();
        const lostData = [a, b].filter((index) => index < 3);
        const [row] = await repairs(cluster.state);
        expect(row ?? []).toEqual(expect.arrayContaining(lostData));
      }
    }
  });

  it('of everything are told from damage and from silence', async () => {
    const cluster = await openCluster({ data: 3, parity: 2 });
    const bytes = randomBytes(1000);
    const { locator } = await put(cluster.store, bytes);
    const key = (index: number): { objectHash: Uint8Array; index: number } => ({
      objectHash: decodeLocator(locator).contentId,
      index,
    });
    for (const index of [0, 1]) holder(cluster, locator, index).damage(key(index), 0);
    expect((await get(cluster.store, locator)).equals(bytes)).toBe(true);
    holder(cluster, locator, 4).onGet = { kind: 'fail', afterBytes: 0 };
    await expect(cluster.store.read(locator)).rejects.toThrow(UnavailableError);
    holder(cluster, locator, 4).resume();
    holder(cluster, locator, 4).shards.clear();
    await expect(cluster.store.read(locator)).rejects.toThrow(ContentDamagedError);
    for (const node of cluster.nodes) node.shards.clear();
    await expect(cluster.store.read(locator)).rejects.toThrow(ContentMissingError);
    for (const node of cluster.nodes.slice(0, 2)) node.die();
    await expect(cluster.store.read(locator)).rejects.toThrow(ContentMissingError);
    cluster.nodes[2]!.die();
    await expect(cluster.store.read(locator)).rejects.toThrow(UnavailableError);
    await cluster.store.close();
  });

  it('of more nodes than M for a moment are waited out', async () => {
    const cluster = await openCluster({ data: 3, parity: 2 });
    const bytes = randomBytes(10 * stripe);
    const { locator } = await put(cluster.store, bytes);
    for (const index of [0, 1, 2]) holder(cluster, locator, index).onGet = { kind: 'fail', afterBytes: 0 };
    const read = get(cluster.store, locator);
    setTimeout(() => holder(cluster, locator, 1).resume(), 200);
    expect((await read).equals(bytes)).toBe(true);
    await cluster.store.close();
  });

  it('of different blocks of more than M shards cost nothing while each stripe has K', async () => {
    const cluster = await openCluster({ data: 3, parity: 2 });
    const bytes = randomBytes(10 * stripe);
    const { locator } = await put(cluster.store, bytes);
    const { contentId: objectHash } = decodeLocator(locator);
    for (let n = 0; n < 10; n += 1) {
      for (const index of [n % 5, (n + 2) % 5])
        holder(cluster, locator, index).damage({ objectHash, index }, n);
    }
    expect((await get(cluster.store, locator)).equals(bytes)).toBe(true);
    holder(cluster, locator, 1).damage({ objectHash, index: 1 }, 5);
    const received: Uint8Array[] = [];
    const read = async (): Promise<void> => {
      for await (const part of await cluster.store.read(locator)) received.push(part);
    };
    await expect(read()).rejects.toThrow(ContentDamagedError);
    const got = Buffer.concat(received);
    expect(got.equals(bytes.subarray(0, got.length))).toBe(true);
    expect(got.length).toBe(5 * stripe);
    await cluster.store.close();
  });

  it('of nodes in the middle of a download are not noticed by the client', async () => {
    const cluster = await openCluster({ data: 3, parity: 2 });
    const bytes = randomBytes(20 * stripe + 5);
    const { locator } = await put(cluster.store, bytes);
    for (const kind of ['fail', 'stall'] as const) {
      holder(cluster, locator, 0).onGet = { kind, afterBytes: 3 * 262_144 };
      holder(cluster, locator, 2).onGet = { kind, afterBytes: 262_144 };
      expect((await get(cluster.store, locator)).equals(bytes)).toBe(true);
      for (const node of cluster.nodes) node.resume();
    }
    await expect.poll(() => cluster.nodes.map((node) => node.active)).toEqual([0, 0, 0, 0, 0]);
    await cluster.store.close();
  });

  it('of time are hedged: a slow node is read around', async () => {
    const cluster = await openCluster(
      { data: 3, parity: 2 },
      { timing: { ...quickTiming, stallMs: 20_000 } },
    );
    const bytes = randomBytes(4 * stripe);
    const { locator } = await put(cluster.store, bytes);
    await get(cluster.store, locator);
    holder(cluster, locator, 1).delayMs = 5000;
    const start = performance.now();
    expect((await get(cluster.store, locator)).equals(bytes)).toBe(true);
    expect(performance.now() - start).toBeLessThan(2000);
    await cluster.store.close();
  });

  it('of one block cost one block of parity', async () => {
    const cluster = await openCluster({ data: 3, parity: 2 });
    const bytes = randomBytes(5 * stripe);
    const { locator } = await put(cluster.store, bytes);
    holder(cluster, locator, 1).damage({ objectHash: decodeLocator(locator).contentId, index: 1 }, 2);
    expect((await get(cluster.store, locator)).equals(bytes)).toBe(true);
    const sent = [0, 1, 2, 3, 4].map((index) => holder(cluster, locator, index).sentBytes);
    expect(sent).toEqual([5, 4, 5, 1, 0].map((blocks) => blocks * 262_144));
    await cluster.store.close();
  });

  it('are not waited for where a node is known to be down', async () => {
    const cluster = await openCluster({ data: 3, parity: 2 });
    const bytes = randomBytes(2 * stripe);
    const { locator } = await put(cluster.store, bytes);
    for (const index of [0, 1]) {
      holder(cluster, locator, index).current = 'down';
      holder(cluster, locator, index).onGet = { kind: 'stall', afterBytes: 0 };
    }
    const before = holder(cluster, locator, 0).gets;
    expect((await get(cluster.store, locator)).equals(bytes)).toBe(true);
    expect(holder(cluster, locator, 0).gets).toBe(before);
    expect(await repairs(cluster.state)).toEqual([]);
    await cluster.store.close();
  });
});

describe('a write', () => {
  it('needs every node to answer, and K + 1 of them to succeed', async () => {
    for (let dead = 0; dead <= 3; dead += 1) {
      for (const how of ['down', 'fail', 'fail at the end'] as const) {
        const cluster = await openCluster({ data: 3, parity: 2 });
        for (const node of cluster.nodes.slice(0, dead)) {
          if (how === 'down') node.current = 'down';
          else if (how === 'fail') node.onPut = { kind: 'fail', afterBytes: 300_000 };
          else node.onStored = 'fail';
        }
        const bytes = randomBytes(5 * stripe);
        const writing = put(cluster.store, bytes);
        if (dead > 1) {
          await expect(writing).rejects.toThrow(UnavailableError);
          expect(shardCount(cluster)).toBe(0);
        } else {
          const { locator, operations } = await writing;
          expect(operations.length).toBe(dead);
          await cluster.state.batch({ conditions: [], operations });
          const { placement } = decodeLocator(locator);
          expect([...placement].sort()).toEqual([0, 1, 2, 3, 4]);
          expect(await repairs(cluster.state)).toEqual(dead === 0 ? [] : [[placement.indexOf(0)]]);
          expect((await get(cluster.store, locator)).equals(bytes)).toBe(true);
        }
        await cluster.store.close();
      }
    }
  });

  it('under a code without parity needs all K', async () => {
    const cluster = await openCluster({ data: 3, parity: 0 });
    const { locator } = await put(cluster.store, randomBytes(100));
    expect((await get(cluster.store, locator)).length).toBe(100);
    cluster.nodes[1]!.die();
    await expect(put(cluster.store, randomBytes(100))).rejects.toThrow(UnavailableError);
    await cluster.store.close();
  });

  it('replaces nodes where there are more than K + M', async () => {
    for (const how of ['down', 'fail', 'stall', 'fail at the end', 'stall at the end', 'suspect'] as const) {
      const cluster = await openCluster({ data: 3, parity: 2 }, { count: 8 });
      for (const node of cluster.nodes.slice(0, 3)) {
        if (how === 'down') node.current = 'down';
        else if (how === 'fail' || how === 'stall') node.onPut = { kind: how, afterBytes: 300_000 };
        else if (how === 'suspect') {
          node.onPut = { kind: 'stall', afterBytes: 300_000 };
          setTimeout(() => (node.current = 'suspect'), 20);
        } else node.onStored = how === 'fail at the end' ? 'fail' : 'stall';
      }
      const bytes = randomBytes(5 * stripe);
      const { locator, operations } = await put(cluster.store, bytes);
      expect(operations).toEqual([]);
      const { placement } = decodeLocator(locator);
      expect(new Set(placement).size).toBe(5);
      for (const dead of [0, 1, 2]) expect(placement).not.toContain(dead);
      expect((await get(cluster.store, locator)).equals(bytes)).toBe(true);
      for (const node of cluster.nodes) node.resume();
      // What the replaced nodes did store after all is removed again.
      await expect.poll(() => shardCount(cluster)).toBe(5);
      await cluster.store.close();
    }
  });

  it('is not held up by a stalled node', async () => {
    for (const state of ['up', 'suspect', 'down'] as const) {
      const cluster = await openCluster({ data: 3, parity: 2 });
      const node = cluster.nodes[2]!;
      node.onPut = { kind: 'stall', afterBytes: 0 };
      setTimeout(() => (node.current = state), 10);
      const start = performance.now();
      const bytes = randomBytes(20 * stripe);
      const { locator, operations } = await put(cluster.store, bytes);
      expect(performance.now() - start).toBeLessThan(2000);
      expect(operations.length).toBe(1);
      expect((await get(cluster.store, locator)).equals(bytes)).toBe(true);
      await cluster.store.close();
    }
  });

  it('leaves nothing behind when its body fails, at any point', async () => {
    const cluster = await openCluster({ data: 3, parity: 2 });
    for (const after of [0, 100, stripe, 3 * stripe + 5, 9 * stripe]) {
      const body = async function* (): AsyncGenerator<Uint8Array> {
        yield* chunks(randomBytes(after));
        throw new Error('the client went away');
      };
      // Nothing becomes visible in the first place, so it does not depend on deletes.
      for (const node of cluster.nodes) node.onDelete = after > stripe ? 'fail' : undefined;
      await expect(cluster.store.write(randomBytes(32), body())).rejects.toThrow('the client went away');
      expect(shardCount(cluster)).toBe(0);
      expect(cluster.nodes.every((node) => node.active === 0)).toBe(true);
    }
    await cluster.store.close();
  });

  it('stops at once when it is aborted, though body and nodes hang', async () => {
    const cluster = await openCluster({ data: 3, parity: 2 });
    const abort = new AbortController();
    let returned = false;
    const body: AsyncIterable<Uint8Array> = {
      [Symbol.asyncIterator]: () => {
        let sent = 0;
        return {
          next: () => {
            sent += 1;
            if (sent < 40) return Promise.resolve({ done: false, value: randomBytes(65_536) });
            setTimeout(() => {
              abort.abort(new Error('enough'));
            }, 20);
            return new Promise(() => undefined);
          },
          return: () => {
            returned = true;
            return Promise.resolve({ done: true, value: undefined });
          },
        };
      },
    };
    await expect(cluster.store.write(randomBytes(32), body, { signal: abort.signal })).rejects.toThrow(
      'enough',
    );
    expect(returned).toBe(true);
    await expect.poll(() => cluster.nodes.map((node) => node.active)).toEqual([0, 0, 0, 0, 0]);
    expect(shardCount(cluster)).toBe(0);
    await expect(cluster.store.write(randomBytes(32), body, { signal: abort.signal })).rejects.toThrow(
      'enough',
    );
    await cluster.store.close();
  });

  it('that fails stops reading its body, though that hangs', async () => {
    const cluster = await openCluster({ data: 3, parity: 2 });
    for (const node of cluster.nodes.slice(0, 2)) node.onPut = { kind: 'fail', afterBytes: 0 };
    const body = async function* (): AsyncGenerator<Uint8Array> {
      yield randomBytes(stripe);
      await new Promise(() => undefined);
    };
    await expect(cluster.store.write(randomBytes(32), body())).rejects.toThrow(UnavailableError);
    await cluster.store.close();
  });

  it('fails before it takes anything when too few nodes are up', async () => {
    const cluster = await openCluster({ data: 3, parity: 2 });
    for (const node of cluster.nodes.slice(0, 2)) node.current = 'down';
    await expect(put(cluster.store, randomBytes(10))).rejects.toThrow(UnavailableError);
    expect(cluster.nodes.every((node) => node.puts === 0)).toBe(true);
    await cluster.store.close();
  });

  it('fails when no epoch can be begun', async () => {
    const cluster = await openCluster({ data: 3, parity: 2 });
    cluster.state.failure = new Error('no database');
    await expect(put(cluster.store, randomBytes(10))).rejects.toThrow(UnavailableError);
    expect(shardCount(cluster)).toBe(0);
    cluster.state.failure = undefined;
    await put(cluster.store, randomBytes(10));
    await cluster.store.close();
  });

  it('names its epoch in every shard and makes the batch conditional on it', async () => {
    const cluster = await openCluster({ data: 3, parity: 2 });
    const { conditions } = await put(cluster.store, randomBytes(10));
    await cluster.state.batch({ conditions, operations: [] });
    const epochs = cluster.nodes.map((node) => [...node.shards.values()][0]!.stat.epoch);
    expect(new Set(epochs).size).toBe(1);
    await cluster.store.close();
    await expect(cluster.state.batch({ conditions, operations: [] })).rejects.toThrow();
  });
});

describe('a read', () => {
  it('that is left leaves nothing open', async () => {
    const cluster = await openCluster({ data: 3, parity: 2 });
    const { locator } = await put(cluster.store, randomBytes(30 * stripe));
    for (const node of cluster.nodes) node.delayMs = 60;
    for await (const part of await cluster.store.read(locator)) {
      expect(part.length).toBeGreaterThan(0);
      break;
    }
    await expect.poll(() => cluster.nodes.map((node) => node.active)).toEqual([0, 0, 0, 0, 0]);
    expect(cluster.nodes.reduce((sum, node) => sum + node.sentBytes, 0)).toBeLessThan(4 * stripe);
    await cluster.store.close();
  });

  it('that is aborted rejects and leaves nothing open', async () => {
    const cluster = await openCluster({ data: 3, parity: 2 });
    const { locator } = await put(cluster.store, randomBytes(30 * stripe));
    const abort = new AbortController();
    const read = async (): Promise<void> => {
      for await (const part of await cluster.store.read(locator, { signal: abort.signal })) {
        expect(part.length).toBeGreaterThan(0);
        abort.abort(new Error('enough'));
      }
    };
    await expect(read()).rejects.toThrow('enough');
    await expect(cluster.store.read(locator, { signal: abort.signal })).rejects.toThrow('enough');
    const hanging = new AbortController();
    for (const node of cluster.nodes) node.onGet = { kind: 'stall', afterBytes: 0 };
    const opening = cluster.store.read(locator, { signal: hanging.signal });
    setTimeout(() => {
      hanging.abort(new Error('too long'));
    }, 10);
    await expect(opening).rejects.toThrow('too long');
    for (const node of cluster.nodes) node.resume();
    await expect.poll(() => cluster.nodes.map((node) => node.active)).toEqual([0, 0, 0, 0, 0]);
    await cluster.store.close();
  });

  it('does not run ahead of a client that does not read', async () => {
    const cluster = await openCluster({ data: 3, parity: 2 });
    const { locator } = await put(cluster.store, randomBytes(60 * stripe));
    const iterator = (await cluster.store.read(locator))[Symbol.asyncIterator]();
    await iterator.next();
    await expect.poll(() => cluster.nodes.every((node) => node.active === 0)).toBe(true);
    const sent = cluster.nodes.reduce((sum, node) => sum + node.sentBytes, 0);
    expect(sent).toBeLessThan(12 * mib);
    await iterator.return!();
    await cluster.store.close();
  });

  it('ends with an error in bounded time when nothing answers', async () => {
    const cluster = await openCluster({ data: 3, parity: 2 });
    const { locator } = await put(cluster.store, randomBytes(100));
    for (const node of cluster.nodes) node.onGet = { kind: 'stall', afterBytes: 0 };
    const start = performance.now();
    await expect(cluster.store.read(locator)).rejects.toThrow(UnavailableError);
    expect(performance.now() - start).toBeLessThan(3000);
    await cluster.store.close();
  });
});

describe('remove', () => {
  it('takes every shard, and is done again where a node did not confirm', async () => {
    const cluster = await openCluster({ data: 3, parity: 2 });
    const { locator } = await put(cluster.store, randomBytes(100));
    cluster.nodes[3]!.onDelete = 'fail';
    await expect(cluster.store.remove(locator)).rejects.toThrow(UnavailableError);
    cluster.nodes[3]!.onDelete = 'stall';
    await expect(cluster.store.remove(locator)).rejects.toThrow(UnavailableError);
    cluster.nodes[3]!.resume();
    await cluster.store.remove(locator);
    expect(shardCount(cluster)).toBe(0);
    await cluster.store.remove(locator);
    await expect(cluster.store.read(locator)).rejects.toThrow(ContentMissingError);
    expect(await repairs(cluster.state)).toEqual([]);
    await cluster.store.close();
  });

  it('asks nothing of nodes that are members no more', async () => {
    const cluster = await openCluster({ data: 3, parity: 2 });
    const { locator } = await put(cluster.store, randomBytes(100));
    cluster.nodes.splice(1, 1);
    await cluster.store.remove(locator);
    expect(shardCount(cluster)).toBe(0);
    await cluster.store.close();
  });
});
