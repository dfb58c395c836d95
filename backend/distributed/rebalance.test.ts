import { randomBytes } from 'node:crypto';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { systemClock } from '../clock.ts';
import { deletedKey } from '../engine/row_keys.ts';
import { encodeContent, encodeDeleted } from '../engine/rows.ts';
import { EngineContentIndex } from './content_index.ts';
import { decodeLocator, encodeLocator } from './locator.ts';
import { activateMember, emptyMember, seedMembers, type Member, type MemberSet } from './members.ts';
import { BytePace } from './pace.ts';
import { defaultTiming } from './ports.ts';
import { decodeRebalanceRow, rebalanceKey, rebalanceLeft } from './rebalance_row.ts';
import { Rebalancer, type RebalancerOptions } from './rebalancer.ts';
import { retiredPrefix } from './retired_rows.ts';
import { RetiredSweep } from './retired_sweep.ts';
import type { ShardMover } from './shard_mover.ts';
import { chunks, get, openCluster, quickTiming, shardCount, type TestCluster } from './testing/cluster.ts';
import { ManualClock } from './testing/manual_clock.ts';
import { MemoryNode } from './testing/memory_node.ts';

const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined };
const { signal } = new AbortController();
const keep = (): Promise<boolean> => Promise.resolve(true);
const pace = new BytePace(1e10, systemClock);

let cluster: TestCluster;
let contents: EngineContentIndex;
let mover: ShardMover;
let members: MemberSet;
let emptied: Member[][];
const clock = new ManualClock();

beforeEach(async () => {
  members = seedMembers([0, 1, 2, 3, 4].map((id) => ({ id, host: `host-${id}`, port: 1 })));
  emptied = [];
  cluster = await openCluster(
    { data: 3, parity: 2 },
    { count: 5, membersVersion: () => members.version, epochs: { lingerMs: 0, leaseMs: 60 } },
  );
  contents = new EngineContentIndex(cluster.state);
  ({ mover } = cluster.store.keepers({ contents, pace }));
});

afterEach(async () => {
  await cluster.store.close();
});

async function commit(bytes: Uint8Array): Promise<Uint8Array> {
  const contentId = randomBytes(32);
  const written = await cluster.store.write(contentId, chunks(bytes), { sizeBytes: bytes.byteLength });
  const row = encodeContent({ sizeBytes: bytes.byteLength, locator: written.locator });
  await cluster.state.batch({
    conditions: written.conditions,
    operations: [{ type: 'put', table: 'objects', key: contentId, value: row }, ...written.operations],
  });
  return contentId;
}

async function placementOf(contentId: Uint8Array): Promise<readonly (number | null)[]> {
  return decodeLocator((await contents.find(contentId))!).placement;
}

function rebalancer(options: Partial<RebalancerOptions> = {}): Rebalancer {
  return new Rebalancer({
    mover,
    contents,
    state: cluster.state,
    nodes: () => cluster.nodes,
    members: () => members,
    onEmptied: (list) => {
      emptied.push([...list]);
      return Promise.resolve();
    },
    clock,
    logger: quiet,
    pace,
    downMs: 60_000,
    ...options,
  });
}

function follow(set: MemberSet): void {
  members = set;
  for (const node of cluster.nodes) {
    node.emptying = set.members.find((member) => member.id === node.id)?.state !== 'active';
  }
}

function join(id: number): MemoryNode {
  const node = new MemoryNode(id);
  cluster.nodes.push(node);
  const member: Member = {
    id,
    host: node.host,
    port: 1,
    weight: 1,
    state: 'active',
    sinceVersion: members.version + 1,
  };
  members = { version: members.version + 1, members: [...members.members, member] };
  return node;
}

/** Turns until nothing is left to do; uploads that are over let go of their epochs meanwhile. */
async function settle(worker: Rebalancer): Promise<void> {
  const turn = (): Promise<string> => worker.turn({ signal, keep, turnMs: 10_000 });
  await expect.poll(turn, { timeout: 5000, interval: 20 }).toBe('settled');
}

async function sweep(delayMs = 0): Promise<void> {
  await new RetiredSweep({
    contents,
    state: cluster.state,
    nodes: () => cluster.nodes,
    clock: systemClock,
    timing: { ...defaultTiming, ...quickTiming },
    logger: quiet,
    delayMs,
  }).sweep({ signal, keep });
}

describe('a node that joins', () => {
  it('gets about a sixth of the shards, and nothing else moves', async () => {
    const bodies = new Map<string, Buffer>();
    const ids: Uint8Array[] = [];
    for (let i = 0; i < 120; i += 1) {
      const bytes = randomBytes(1 + i * 50);
      const id = await commit(bytes);
      ids.push(id);
      bodies.set(id.toString(), bytes);
    }
    const before = await Promise.all(ids.map(placementOf));
    const node = join(5);
    await settle(rebalancer());
    const after = await Promise.all(ids.map(placementOf));
    let moved = 0;
    after.forEach((placement, i) =>
      placement.forEach((id, index) => {
        if (id === before[i]?.[index]) return;
        expect(id).toBe(5);
        moved += 1;
      }),
    );
    expect(moved / 600).toBeGreaterThan(1 / 6 - 0.03);
    expect(moved / 600).toBeLessThan(1 / 6 + 0.03);
    expect(node.shards.size).toBe(moved);
    // The old ones stay for reads under way, and go some time later.
    expect(shardCount(cluster)).toBe(600 + moved);
    await sweep(60_000);
    expect(shardCount(cluster)).toBe(600 + moved);
    await sweep(0);
    expect(shardCount(cluster)).toBe(600);
    for (const id of ids) {
      const locator = (await contents.find(id))!;
      expect((await get(cluster.store, locator)).equals(bodies.get(id.toString())!)).toBe(true);
    }
  });

  it('is filled across interruptions, each turn from where the last ended', async () => {
    for (let i = 0; i < 450; i += 1) await commit(randomBytes(10));
    join(5);
    const looked: number[] = [];
    const spy: Pick<ShardMover, 'place'> = {
      place: (contentId, options) => {
        looked.push(contentId[0] ?? 0);
        return mover.place(contentId, options);
      },
    };
    // A process that dies after each turn.
    expect(await rebalancer({ mover: spy }).turn({ signal, keep, turnMs: 0 })).toBe('more');
    const row = decodeRebalanceRow((await cluster.state.get('state', rebalanceKey))!);
    expect(rebalanceLeft(row, clock.nowMs()).objects).toBeGreaterThan(0);
    await expect
      .poll(() => rebalancer({ mover: spy }).turn({ signal, keep, turnMs: 0 }), { timeout: 5000 })
      .toBe('settled');
    // No content was moved twice: each was met once, in order.
    expect(looked).toEqual([...looked].sort((a, b) => a - b));
  });
});

describe('a node that is drained', () => {
  it('is empty in the end, and says so only then', async () => {
    join(5);
    await settle(rebalancer());
    const ids = await Promise.all(Array.from({ length: 60 }, () => commit(randomBytes(5000))));
    follow(emptyMember(members, { id: 2, remove: true, shards: 5 }));
    await settle(rebalancer());
    expect(emptied.map((list) => list.map((member) => member.id))).toEqual([[2]]);
    for (const id of ids) expect(await placementOf(id)).not.toContain(2);
    await sweep();
    expect(cluster.nodes[2]?.shards.size).toBe(0);
  });

  it('waits for an upload that began before, and takes its shards away as well', async () => {
    join(5);
    await settle(rebalancer());
    const body = Promise.withResolvers<undefined>();
    const slowId = randomBytes(32);
    const slow = cluster.store.write(
      slowId,
      (async function* () {
        yield randomBytes(3 * 262_144);
        await body.promise;
        yield randomBytes(10);
      })(),
    );
    await expect.poll(() => cluster.nodes.filter((node) => node.active > 0).length).toBe(5);
    follow(emptyMember(members, { id: 2, remove: false, shards: 5 }));
    const worker = rebalancer();
    for (let i = 0; i < 20; i += 1) {
      expect(await worker.turn({ signal, keep, turnMs: 1000 })).toBe('waiting');
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    expect(emptied).toEqual([]);
    body.resolve(undefined);
    const written = await slow;
    const row = encodeContent({ sizeBytes: written.sizeBytes, locator: written.locator });
    await cluster.state.batch({
      conditions: written.conditions,
      operations: [{ type: 'put', table: 'objects', key: slowId, value: row }],
    });
    await settle(worker);
    expect(emptied.length).toBe(1);
    expect(await placementOf(slowId)).not.toContain(2);
  });

  it('is not empty while content finds no other place', async () => {
    await commit(randomBytes(100));
    follow({
      version: 2,
      members: members.members.map((member) =>
        member.id === 2 ? { ...member, state: 'draining', sinceVersion: 2 } : member,
      ),
    });
    const worker = rebalancer();
    expect(await worker.turn({ signal, keep, turnMs: 1000 })).toBe('waiting');
    expect(await worker.turn({ signal, keep, turnMs: 1000 })).toBe('waiting');
    expect(emptied).toEqual([]);
  });

  it('gets its shards back when the drain is taken back, also before the old ones are freed', async () => {
    join(5);
    await settle(rebalancer());
    const ids = await Promise.all(Array.from({ length: 30 }, () => commit(randomBytes(500))));
    const before = await Promise.all(ids.map(placementOf));
    follow(emptyMember(members, { id: 2, remove: false, shards: 5 }));
    await settle(rebalancer());
    follow(activateMember(members, 2));
    const worker = rebalancer();
    // Where an old shard waits to be freed, none is put: it would be freed in its place.
    expect(await worker.turn({ signal, keep, turnMs: 10_000 })).toBe('waiting');
    await sweep();
    await settle(worker);
    await sweep();
    const after = await Promise.all(ids.map(placementOf));
    expect(after.map((list) => list.includes(2))).toEqual(before.map((list) => list.includes(2)));
    for (const id of ids) await get(cluster.store, (await contents.find(id))!);
    expect(shardCount(cluster)).toBe(150);
  });
});

describe('a node that is down', () => {
  it('has its shards built elsewhere, but only after a while', async () => {
    const bytes = randomBytes(70_000);
    const id = await commit(bytes);
    const node = join(5);
    follow(emptyMember(members, { id: 5, remove: false, shards: 5 }));
    await settle(rebalancer());
    follow(activateMember(members, 5));
    const lost = cluster.nodes[1]!;
    lost.current = 'down';
    const worker = rebalancer();
    const had = (await placementOf(id)).indexOf(1);
    follow({ ...members, members: members.members.filter((member) => member.id !== 5) });
    node.emptying = true;
    await settle(worker);
    expect((await placementOf(id))[had]).toBe(1);
    node.emptying = false;
    await clock.advance(61_000);
    await settle(worker);
    expect((await placementOf(id))[had]).toBe(5);
    for (const other of cluster.nodes.slice(2, 4)) other.shards.clear();
    expect((await get(cluster.store, (await contents.find(id))!)).equals(bytes)).toBe(true);
    // Its old shard is freed once it is back.
    await sweep();
    expect(lost.shards.size).toBe(1);
    lost.current = 'up';
    await sweep();
    expect(lost.shards.size).toBe(0);
  });
});

describe('ShardMover', () => {
  it('never leaves content with fewer shards, whatever fails on the way', async () => {
    const bytes = randomBytes(900_000);
    const id = await commit(bytes);
    const node = join(5);
    const goal = (): readonly MemoryNode[] => cluster.nodes.filter((candidate) => candidate.id !== 0);
    const whole = async (): Promise<void> => {
      const { placement } = decodeLocator((await contents.find(id))!);
      for (const [index, holder] of placement.entries()) {
        const stat = await cluster.nodes
          .find((candidate) => candidate.id === holder)
          ?.stat({ objectHash: id, index });
        expect(stat?.sizeBytes).toBe(300_000);
      }
    };
    node.onPut = { kind: 'fail', afterBytes: 100_000 };
    await expect(mover.place(id, { goal, signal })).rejects.toThrow('does not take');
    await whole();
    node.resume();
    node.onStored = 'stall';
    await expect(mover.place(id, { goal, signal })).rejects.toThrow('does not take');
    await whole();
    node.resume();
    cluster.nodes[0]!.onGet = { kind: 'fail', afterBytes: 100 };
    await expect(mover.place(id, { goal, signal })).rejects.toThrow();
    await whole();
    cluster.nodes[0]!.resume();
    expect(await mover.place(id, { goal, signal })).toEqual({ state: 'placed', movedBytes: 300_000 });
    await whole();
    expect(await mover.place(id, { goal, signal })).toEqual({ state: 'placed', movedBytes: 0 });
    expect((await get(cluster.store, (await contents.find(id))!)).equals(bytes)).toBe(true);
  });

  it('rebuilds what its node has damaged, instead of copying it', async () => {
    const bytes = randomBytes(900_000);
    const id = await commit(bytes);
    const index = (await placementOf(id)).indexOf(0);
    cluster.nodes[0]!.damage({ objectHash: id, index }, 0);
    join(5);
    const goal = (): readonly MemoryNode[] => cluster.nodes.filter((candidate) => candidate.id !== 0);
    expect((await mover.place(id, { goal, signal })).state).toBe('placed');
    expect((await get(cluster.store, (await contents.find(id))!)).equals(bytes)).toBe(true);
    expect(cluster.nodes[5]?.shards.size).toBe(1);
  });

  it('gives way to who moves or deletes the content meanwhile', async () => {
    const id = await commit(randomBytes(300));
    const node = join(5);
    const goal = (): readonly MemoryNode[] => cluster.nodes.filter((candidate) => candidate.id !== 0);
    const original = node.put.bind(node);
    node.put = async (...args) => {
      const stat = await original(...args);
      const from = (await contents.find(id))!;
      const layout = decodeLocator(from);
      const to = encodeLocator({ ...layout, layout: layout.layout + 1 });
      await contents.replace({ contentId: id, from, to, conditions: [] });
      return stat;
    };
    expect((await mover.place(id, { goal, signal })).state).toBe('waiting');
    expect(await placementOf(id)).toContain(0);
    node.put = async (...args) => {
      const stat = await original(...args);
      await cluster.state.set('objects', deletedKey(id), encodeDeleted({ deletedMs: 1 }));
      await cluster.state.delete('objects', id);
      return stat;
    };
    expect((await mover.place(id, { goal, signal })).state).toBe('gone');
    expect(node.shards.size).toBe(0);
    const page = await cluster.state.scan({ table: 'state', prefix: retiredPrefix, limit: 10 });
    expect(page.items).toEqual([]);
  });
});
