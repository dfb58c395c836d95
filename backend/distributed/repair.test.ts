import { randomBytes } from 'node:crypto';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { systemClock } from '../clock.ts';
import { ContentDamagedError } from '../data_store.ts';
import { deletedKey } from '../engine/row_keys.ts';
import { encodeContent, encodeDeleted } from '../engine/rows.ts';
import { EngineContentIndex } from './content_index.ts';
import { decodeLocator } from './locator.ts';
import { BytePace } from './pace.ts';
import { defaultTiming } from './ports.ts';
import { RepairScanner } from './repair_scanner.ts';
import { RepairWorker } from './repair_worker.ts';
import type { RepairWorkerOptions } from './repair_worker.ts';
import type { Repairer } from './repairer.ts';
import { get, holder, openCluster, put, quickTiming, repairs, shardCount } from './testing/cluster.ts';
import type { TestCluster } from './testing/cluster.ts';
import { ManualClock } from './testing/manual_clock.ts';
import { MemoryNode } from './testing/memory_node.ts';

const stripe = 3 * 256 * 1024;
const { signal } = new AbortController();
const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined };

let cluster: TestCluster;
let contents: EngineContentIndex;
let repairer: Repairer;

beforeEach(async () => {
  cluster = await openCluster({ data: 3, parity: 2 });
  contents = new EngineContentIndex(cluster.state);
  ({ repairer } = cluster.store.keepers({ contents, pace: new BytePace(1e10, systemClock) }));
});

afterEach(async () => {
  await cluster.store.close();
});

/** Writes content and commits a row that names it, as the engine does. */
async function commit(bytes: Uint8Array): Promise<Uint8Array> {
  const written = await put(cluster.store, bytes);
  const { contentId } = decodeLocator(written.locator);
  const row = encodeContent({ sizeBytes: bytes.byteLength, locator: written.locator });
  await cluster.state.batch({
    conditions: written.conditions,
    operations: [{ type: 'put', table: 'objects', key: contentId, value: row }, ...written.operations],
  });
  return contentId;
}

async function locatorOf(contentId: Uint8Array): Promise<Uint8Array> {
  return (await contents.find(contentId))!;
}

function work(options: Partial<RepairWorkerOptions> = {}): RepairWorker {
  return RepairWorker.open({
    repairer,
    state: cluster.state,
    clock: systemClock,
    logger: quiet,
    randomBytes,
    holder: 'worker',
    idleMs: 5,
    ...options,
  });
}

function scanner(options: { readonly everyMs?: number } = {}): RepairScanner {
  return new RepairScanner({
    contents,
    state: cluster.state,
    nodes: () => cluster.nodes,
    clock: systemClock,
    timing: { ...defaultTiming, ...quickTiming },
    logger: quiet,
    pace: new BytePace(1e9, systemClock),
    ...options,
  });
}

describe('Repairer', () => {
  it('rebuilds any two shards, byte for byte, of any size', async () => {
    for (const size of [1, 100, stripe, stripe + 1, 12 * stripe + 77]) {
      const bytes = randomBytes(size);
      const contentId = await commit(bytes);
      const locator = await locatorOf(contentId);
      for (let a = 0; a < 5; a += 1) {
        for (let b = a + 1; b < 5; b += 1) {
          const [one, two] = [holder(cluster, locator, a), holder(cluster, locator, b)];
          const before = [one, two].map((node) => [...node.shards].at(-1)!);
          for (const [i, node] of [one, two].entries()) node.shards.delete(before[i]![0]);
          expect(await repairer.repair(contentId, { suspected: [], signal })).toBe('whole');
          for (const [i, node] of [one, two].entries()) {
            const [key, shard] = before[i]!;
            expect(Buffer.concat(node.shards.get(key)!.blocks).equals(Buffer.concat(shard.blocks))).toBe(
              true,
            );
            expect(node.shards.get(key)!.stat.blockSizeBytes).toBe(shard.stat.blockSizeBytes);
          }
        }
      }
      expect((await get(cluster.store, locator)).equals(bytes)).toBe(true);
    }
  });

  it('replaces a damaged shard that its node takes for good', async () => {
    const bytes = randomBytes(3 * stripe);
    const contentId = await commit(bytes);
    const locator = await locatorOf(contentId);
    holder(cluster, locator, 1).damage({ objectHash: contentId, index: 1 }, 2);
    expect(await repairer.repair(contentId, { suspected: [1, 4], signal })).toBe('whole');
    const puts = cluster.nodes.map((node) => node.puts);
    expect(puts.reduce((sum, count) => sum + count, 0)).toBe(6);
    for (const index of [0, 2]) holder(cluster, locator, index).shards.clear();
    expect((await get(cluster.store, locator)).equals(bytes)).toBe(true);
  });

  it('waits for a node that is away, and moves the shard of one that is a member no more', async () => {
    const bytes = randomBytes(2 * stripe + 5);
    const contentId = await commit(bytes);
    const before = decodeLocator(await locatorOf(contentId));
    const gone = holder(cluster, await locatorOf(contentId), 3);
    gone.current = 'down';
    expect(await repairer.repair(contentId, { suspected: [3], signal })).toBe('waiting');
    cluster.nodes.splice(cluster.nodes.indexOf(gone), 1);
    expect(await repairer.repair(contentId, { suspected: [], signal })).toBe('waiting');
    cluster.nodes.push(new MemoryNode(17));
    expect(await repairer.repair(contentId, { suspected: [], signal })).toBe('whole');
    const after = decodeLocator(await locatorOf(contentId));
    expect(after).toEqual({
      ...before,
      layout: 1,
      placement: before.placement.map((id, index) => (index === 3 ? 17 : id)),
    });
    for (const index of [0, 1]) holder(cluster, await locatorOf(contentId), index).shards.clear();
    expect((await get(cluster.store, await locatorOf(contentId))).equals(bytes)).toBe(true);
  });

  it('leaves deleted content alone, also when it is deleted while it is rebuilt', async () => {
    const contentId = await commit(randomBytes(100));
    const locator = await locatorOf(contentId);
    holder(cluster, locator, 2).shards.clear();
    await cluster.state.set('objects', deletedKey(contentId), encodeDeleted({ deletedMs: 1 }));
    expect(await repairer.repair(contentId, { suspected: [2], signal })).toBe('gone');
    await cluster.state.delete('objects', deletedKey(contentId));
    const node = holder(cluster, locator, 2);
    const original = node.put.bind(node);
    node.put = async (...args) => {
      const stat = await original(...args);
      await cluster.state.delete('objects', contentId);
      return stat;
    };
    expect(await repairer.repair(contentId, { suspected: [2], signal })).toBe('gone');
    expect(node.shards.size).toBe(0);
    expect(await repairer.repair(contentId, { suspected: [2], signal })).toBe('gone');
  });

  it('survives a source that fails in the middle, and says when too few are left', async () => {
    const bytes = randomBytes(30 * stripe);
    const contentId = await commit(bytes);
    const locator = await locatorOf(contentId);
    holder(cluster, locator, 0).shards.clear();
    holder(cluster, locator, 1).onGet = { kind: 'fail', afterBytes: 2 * 262_144 };
    expect(await repairer.repair(contentId, { suspected: [], signal })).toBe('whole');
    for (const node of cluster.nodes) node.resume();
    expect((await get(cluster.store, locator)).equals(bytes)).toBe(true);
    for (const index of [0, 1, 4]) holder(cluster, locator, index).shards.clear();
    await expect(repairer.repair(contentId, { suspected: [], signal })).rejects.toThrow(ContentDamagedError);
  });

  it('stores nothing when its target fails, and is done by the next try', async () => {
    const contentId = await commit(randomBytes(5 * stripe));
    const locator = await locatorOf(contentId);
    const node = holder(cluster, locator, 4);
    node.shards.clear();
    for (const kind of ['fail', 'stall'] as const) {
      node.onPut = { kind, afterBytes: 300_000 };
      await expect(repairer.repair(contentId, { suspected: [], signal })).rejects.toThrow('does not take');
      node.resume();
      await expect.poll(() => cluster.nodes.map((each) => each.active)).toEqual([0, 0, 0, 0, 0]);
      expect(node.shards.size).toBe(0);
    }
    expect(await repairer.repair(contentId, { suspected: [], signal })).toBe('whole');
    expect(shardCount(cluster)).toBe(5);
  });
});

describe('RepairWorker', () => {
  it('works off what writes and reads have queued', async () => {
    cluster.nodes[2]!.current = 'down';
    const written = await Promise.all([1, 2, 3].map((n) => commit(randomBytes(n * 1000))));
    cluster.nodes[2]!.current = 'up';
    const other = await commit(randomBytes(5 * stripe));
    const locator = await locatorOf(other);
    for (const index of [0, 1]) await holder(cluster, locator, index).delete({ objectHash: other, index });
    await get(cluster.store, locator);
    await expect.poll(async () => (await repairs(cluster.state)).length).toBe(4);
    const worker = work();
    await expect.poll(() => repairs(cluster.state), { timeout: 5000 }).toEqual([]);
    expect(worker.progress.failed).toBe(0);
    await worker.close();
    for (const contentId of [...written, other]) {
      expect(await repairer.repair(contentId, { suspected: [], signal })).toBe('whole');
    }
    expect(await cluster.state.exists('state', Buffer.from('repair-lease'))).toBe(false);
  });

  it('takes the most endangered content first', async () => {
    const order: string[] = [];
    const ids: Uint8Array[] = [];
    for (const lost of [[0], [0, 1], []]) {
      const contentId = await commit(randomBytes(100));
      ids.push(contentId);
      const locator = await locatorOf(contentId);
      for (const index of lost) {
        const node = holder(cluster, locator, index);
        await node.delete({ objectHash: contentId, index });
      }
      await scanner().scanIfDue({ signal, keep: () => Promise.resolve(true) });
      await cluster.state.delete('state', Buffer.from('repair-scan'));
    }
    expect((await repairs(cluster.state)).map((missing) => missing.length)).toEqual([2, 1]);
    const spy: Pick<Repairer, 'repair' | 'isWorthwhile'> = {
      isWorthwhile: () => true,
      repair: (contentId) => {
        order.push(Buffer.from(contentId).toString('hex'));
        return Promise.resolve('whole');
      },
    };
    const worker = work({ repairer: spy, atOnce: 1 });
    await expect.poll(() => order.length).toBe(2);
    await worker.close();
    expect(order).toEqual([ids[1], ids[0]].map((id) => Buffer.from(id!).toString('hex')));
  });

  it('keeps the rows of content that it can not repair yet', async () => {
    const contentId = await commit(randomBytes(1000));
    const locator = await locatorOf(contentId);
    for (const index of [0, 1, 2])
      await holder(cluster, locator, index).delete({ objectHash: contentId, index });
    await scanner().scanIfDue({ signal, keep: () => Promise.resolve(true) });
    const worker = work();
    await expect.poll(() => worker.progress.failed).toBeGreaterThan(0);
    await worker.close();
    expect(await repairs(cluster.state)).toEqual([[0, 1, 2]]);
  });

  it('leaves the work to whoever has the lease', async () => {
    const first = work();
    await expect.poll(() => cluster.state.exists('state', Buffer.from('repair-lease'))).toBe(true);
    const second = work();
    cluster.nodes[2]!.current = 'down';
    await commit(randomBytes(1000));
    cluster.nodes[2]!.current = 'up';
    await expect.poll(() => repairs(cluster.state)).toEqual([]);
    expect(second.progress.repaired).toBe(0);
    await first.close();
    cluster.nodes[2]!.current = 'down';
    await commit(randomBytes(1000));
    cluster.nodes[2]!.current = 'up';
    await expect.poll(() => second.progress.repaired).toBe(1);
    await second.close();
  });
});

describe('RepairScanner', () => {
  it('finds what nobody noticed: a node that came back with an empty disk is filled again', async () => {
    const sizes = Array.from({ length: 40 }, (_, i) => 1 + i * 37);
    const ids = await Promise.all(sizes.map((size) => commit(randomBytes(size))));
    await commit(new Uint8Array(0));
    const before = shardCount(cluster);
    const worker = work({ scanner: scanner() });
    await expect.poll(() => cluster.state.exists('state', Buffer.from('repair-scan'))).toBe(true);
    const node = cluster.nodes[1]!;
    node.current = 'down';
    await new Promise((resolve) => setTimeout(resolve, 200));
    node.shards.clear();
    node.current = 'up';
    await expect.poll(() => shardCount(cluster), { timeout: 10_000 }).toBe(before);
    await expect.poll(() => repairs(cluster.state), { timeout: 10_000 }).toEqual([]);
    await worker.close();
    for (const id of ids) expect(await repairer.repair(id, { suspected: [], signal })).toBe('whole');
  });

  it('queues nothing for nodes that are away, and does not scan before it is time', async () => {
    await commit(randomBytes(10));
    const own = scanner({ everyMs: 60_000 });
    cluster.nodes[0]!.current = 'down';
    cluster.nodes[1]!.scan = () => Promise.reject(new Error('busy'));
    const keep = (): Promise<boolean> => Promise.resolve(true);
    await own.scanIfDue({ signal, keep });
    expect(await repairs(cluster.state)).toEqual([]);
    cluster.nodes[2]!.shards.clear();
    await own.scanIfDue({ signal, keep });
    expect(await repairs(cluster.state)).toEqual([]);
    cluster.nodes[0]!.current = 'up';
    await own.scanIfDue({ signal, keep });
    expect((await repairs(cluster.state)).length).toBe(1);
  });

  it('queues what is on nodes that are members no more', async () => {
    const contentId = await commit(randomBytes(10));
    const { placement } = decodeLocator(await locatorOf(contentId));
    const lost = cluster.nodes.shift()!;
    await scanner().scanIfDue({ signal, keep: () => Promise.resolve(true) });
    expect(await repairs(cluster.state)).toEqual([[placement.indexOf(lost.id)]]);
  });
});

describe('EngineContentIndex', () => {
  it('lists content page by page, and nothing else of the table', async () => {
    const ids = await Promise.all(Array.from({ length: 25 }, () => commit(randomBytes(3))));
    await cluster.state.set('objects', Buffer.from('arn:aws:s3:::bucket/of-32-bytes!'), Buffer.from('x'));
    await cluster.state.set('objects', deletedKey(ids[0]!), encodeDeleted({ deletedMs: 1 }));
    const found: string[] = [];
    let startAfter: Uint8Array | undefined;
    do {
      const page = await contents.list({ startAfter, limit: 4 });
      found.push(...page.contents.map((content) => Buffer.from(content.contentId).toString('hex')));
      startAfter = page.next;
    } while (startAfter !== undefined);
    expect(found).toEqual(ids.map((id) => Buffer.from(id).toString('hex')).sort());
  });

  it('replaces only the locator that it was told of', async () => {
    const contentId = await commit(randomBytes(3));
    const from = await locatorOf(contentId);
    const to = Buffer.from('to');
    const conditions = [{ table: 'state', key: Buffer.from('no such row'), exists: true }] as const;
    expect(await contents.replace({ contentId, from, to, conditions })).toBe(false);
    expect(await contents.replace({ contentId, from: to, to: from, conditions: [] })).toBe(false);
    expect(await contents.replace({ contentId, from, to, conditions: [] })).toBe(true);
    expect(Buffer.from(await locatorOf(contentId))).toEqual(to);
    expect(await contents.replace({ contentId: randomBytes(32), from, to, conditions: [] })).toBe(false);
  });
});

describe('BytePace', () => {
  it('lets its rate through, with a second of burst', async () => {
    const clock = new ManualClock();
    const pace = new BytePace(1000, clock);
    let moved = 0;
    const run = async (): Promise<void> => {
      for (let i = 0; i < 100; i += 1) {
        await pace.take(100, signal);
        moved += 100;
      }
    };
    const running = run();
    for (let i = 0; i < 60; i += 1) await clock.advance(50);
    expect(moved).toBeGreaterThanOrEqual(3000);
    expect(moved).toBeLessThanOrEqual(4200);
    for (let i = 0; i < 200; i += 1) await clock.advance(50);
    await running;
    expect(() => new BytePace(0, clock)).toThrow(RangeError);
  });
});
