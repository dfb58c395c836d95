import { beforeEach, describe, expect, it } from 'vitest';
import { Pace } from './pace.ts';
import type { ShardKey } from './shard_storage.ts';
import { ShardStore } from './shard_store.ts';
import { MemoryIndex } from './testing/memory_index.ts';
import { Random, SimulatedDisk } from './testing/simulated_disk.ts';

const OPTIONS = { epoch: 1n, blockSizeBytes: 1000 };
const ALL = { minDeadFraction: 0 };

let disk: SimulatedDisk;
let values: Map<string, Uint8Array>;

beforeEach(() => {
  disk = new SimulatedDisk(new Random(1));
  values = new Map();
});

function open(index = values, reserveBytes = 0): Promise<ShardStore> {
  return ShardStore.open({
    directory: '/node',
    stamp: { clusterId: 'c', nodeId: 1 },
    fileSystem: disk,
    openIndex: async () => new MemoryIndex(index, (apply) => disk.change('/node/index', apply)),
    flushIntervalMs: 0,
    log: { reserveBytes },
  });
}

function shard(name: number): ShardKey {
  return { objectHash: Buffer.alloc(32, name), index: name };
}

async function* body(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

async function put(store: ShardStore, name: number, bytes = Buffer.alloc(2500, name)): Promise<void> {
  await store.put(shard(name), OPTIONS, body(bytes));
}

async function read(store: ShardStore, name: number): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of (await store.get(shard(name))).body) pieces.push(piece);
  return Buffer.concat(pieces);
}

function ids(store: ShardStore): number[] {
  return store.log.segments.map(({ id }) => id);
}

describe('compaction', () => {
  it('frees what is dead and keeps what is live', async () => {
    const store = await open();
    for (const name of [1, 2, 3]) await put(store, name);
    await store.log.roll();
    await store.delete(shard(2));
    const before = await store.usage();
    const [done] = await store.compact({ minDeadFraction: 0.2 });
    expect(done).toMatchObject({ segment: 1, kept: false });
    expect(done!.freedBytes).toBeGreaterThan(2500);
    expect(ids(store)).toEqual([2]);
    const after = await store.usage();
    expect(after).toMatchObject({ shards: 2, liveBytes: 5000 });
    expect(before.usedBytes - after.usedBytes).toBeGreaterThan(2500);
    for (const name of [1, 3]) expect((await read(store, name)).equals(Buffer.alloc(2500, name))).toBe(true);
    expect(await store.stat(shard(2))).toBeUndefined();
    await store.close();
  });

  it('leaves alone what is not dead enough', async () => {
    const store = await open();
    for (const name of [1, 2, 3]) await put(store, name);
    await store.log.roll();
    await store.delete(shard(2));
    expect(await store.compact({ minDeadFraction: 0.5 })).toEqual([]);
    expect(ids(store)).toEqual([1, 2]);
    await store.close();
  });

  it('keeps a tombstone while an older segment holds what it covers', async () => {
    let store = await open();
    await put(store, 1);
    await put(store, 2);
    await store.log.roll();
    await store.delete(shard(1));
    await put(store, 3);
    await store.delete(shard(3));
    await store.log.roll();
    // Only the segment with the tombstones: mostly dead.
    const done = await store.compact({ minDeadFraction: 0.9 });
    expect(done.map(({ segment, kept }) => ({ segment, kept }))).toEqual([{ segment: 2, kept: false }]);
    expect(ids(store)).toEqual([1, 3]);
    await store.close();
    store = await open(new Map());
    expect(store.recovery.replay.rebuilt).toBe(true);
    expect(await store.stat(shard(1))).toBeUndefined();
    expect(await store.stat(shard(3))).toBeUndefined();
    expect(await store.usage()).toMatchObject({ shards: 1, liveBytes: 2500 });
    // Once the covered close is gone, so is the tombstone.
    await store.log.roll();
    await store.compact(ALL);
    await store.compact(ALL);
    await store.delete(shard(2));
    await store.log.roll();
    await store.compact(ALL);
    expect(await store.usage()).toMatchObject({ shards: 0, liveBytes: 0 });
    await store.close();
  });

  it('forgets everything about what was deleted, in the end', async () => {
    const store = await open();
    for (const name of [1, 2, 3]) await put(store, name);
    await store.log.roll();
    for (const name of [1, 2, 3]) await store.delete(shard(name));
    await store.log.roll();
    await store.compact(ALL);
    await store.compact(ALL);
    await store.checkpoint();
    expect([...values.keys()].filter((name) => name.startsWith('e'))).toEqual([]);
    const records: unknown[] = [];
    for await (const item of store.log.scan()) records.push(item);
    expect(records).toEqual([]);
    await store.close();
  });

  it('leaves the blocks of a put in progress where they are', async () => {
    const store = await open();
    const gate = Promise.withResolvers<undefined>();
    const begun = Promise.withResolvers<undefined>();
    async function* slow(): AsyncGenerator<Uint8Array> {
      yield Buffer.alloc(3000, 7);
      yield Buffer.alloc(1, 7);
      begun.resolve(undefined);
      await gate.promise;
      yield Buffer.alloc(999, 7);
    }
    const putting = store.put(shard(7), OPTIONS, slow());
    await begun.promise;
    await store.log.roll();
    await store.log.roll();
    expect(await store.compact(ALL)).toEqual([]);
    gate.resolve(undefined);
    await putting;
    expect((await read(store, 7)).equals(Buffer.alloc(4000, 7))).toBe(true);
    await store.compact(ALL);
    expect((await read(store, 7)).equals(Buffer.alloc(4000, 7))).toBe(true);
    await store.close();
  });

  it('does not disturb a reader, nor a delete that comes in between', async () => {
    const store = await open();
    await put(store, 1, Buffer.alloc(20_000, 1));
    await put(store, 2);
    await store.log.roll();
    const reading = (await store.get(shard(1))).body[Symbol.asyncIterator]();
    const pieces = [(await reading.next()).value as Uint8Array];
    const compacting = store.compact(ALL);
    await store.delete(shard(2));
    await compacting;
    expect(ids(store)).not.toContain(1);
    for (;;) {
      const next = await reading.next();
      if (next.done === true) break;
      pieces.push(next.value);
    }
    expect(Buffer.concat(pieces).equals(Buffer.alloc(20_000, 1))).toBe(true);
    expect(await store.stat(shard(2))).toBeUndefined();
    await store.close();
    const rebuilt = await open(new Map());
    expect(await rebuilt.usage()).toMatchObject({ shards: 1, liveBytes: 20_000 });
    await rebuilt.close();
  });

  it('keeps a segment with a damaged live block, and drops it after the repair', async () => {
    const store = await open();
    await put(store, 1);
    await put(store, 2);
    await store.log.roll();
    disk.flipBit('/node/log/0000000001.seg', { offset: 64 + 200 });
    expect(await store.compact(ALL)).toMatchObject([{ segment: 1, kept: true }]);
    // It isn't tried again before something in it changes.
    expect(await store.compact({ minDeadFraction: 0.1 })).toEqual([]);
    await expect(read(store, 1)).rejects.toMatchObject({ code: 'shard_damaged' });
    expect((await read(store, 2)).equals(Buffer.alloc(2500, 2))).toBe(true);
    await put(store, 1);
    expect(await store.compact({ minDeadFraction: 0.9 })).toMatchObject([{ segment: 1, kept: false }]);
    for (const name of [1, 2]) expect((await read(store, name)).equals(Buffer.alloc(2500, name))).toBe(true);
    await store.close();
  });

  it('goes on below the reserve of free space', async () => {
    disk.capacityBytes = 60_000;
    const store = await open(values, 50_000);
    for (const name of [1, 2, 3]) await put(store, name);
    await store.log.roll();
    await expect(put(store, 4)).rejects.toMatchObject({ code: 'log_full' });
    for (const name of [1, 2]) await store.delete(shard(name));
    expect(await store.compact(ALL)).toMatchObject([{ segment: 1, kept: false }]);
    await put(store, 4);
    await store.close();
  });

  it('stops when it is told to, and does the rest next time', async () => {
    const store = await open();
    for (const name of [1, 2, 3]) await put(store, name);
    await store.log.roll();
    await store.delete(shard(2));
    const abort = new AbortController();
    abort.abort(new Error('enough'));
    await expect(store.compact({ ...ALL, signal: abort.signal })).rejects.toThrow('enough');
    expect(ids(store)).toEqual([1, 2]);
    await store.compact(ALL);
    expect(ids(store)).not.toContain(1);
    for (const name of [1, 3]) expect((await read(store, name)).equals(Buffer.alloc(2500, name))).toBe(true);
    await store.close();
  });
});

describe('Pace', () => {
  it('spends bytes at the given rate, whatever their pieces', async () => {
    let now = 0;
    const pace = new Pace({
      bytesPerSecond: 1000,
      now: () => now,
      sleep: async (ms) => {
        now += ms;
      },
    });
    for (let at = 0; at < 100; at += 1) await pace.spend(100);
    expect(now).toBeGreaterThan(9_900);
    expect(now).toBeLessThanOrEqual(10_000);
    // Idle time isn't saved up.
    now += 60_000;
    const begin = now;
    await pace.spend(5000);
    expect(now - begin).toBeGreaterThan(4_900);
  });
});
