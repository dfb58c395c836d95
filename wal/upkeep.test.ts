import { mkdtemp, open, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { dumpStore, reindexStore, verifyStore, type DumpedItem } from './inspect.ts';
import type { ScrubReport } from './scrub.ts';
import type { ShardKey } from './shard_storage.ts';
import { ShardStore } from './shard_store.ts';
import { Upkeep, type UpkeepOptions } from './upkeep.ts';

const STAMP = { clusterId: 'c1', nodeId: 3 };
const OPTIONS = { epoch: 1n, blockSizeBytes: 1000 };

let directory: string;
let store: ShardStore;

beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 's3d-upkeep-'));
  store = await ShardStore.open({ directory, stamp: STAMP, flushIntervalMs: 0 });
});
afterEach(async () => {
  await store.close();
  await rm(directory, { recursive: true });
});

function shard(name: number): ShardKey {
  return { objectHash: Buffer.alloc(32, name), index: name };
}

async function put(name: number): Promise<void> {
  async function* body(): AsyncGenerator<Uint8Array> {
    yield Buffer.alloc(2500, name);
  }
  await store.put(shard(name), OPTIONS, body());
}

async function damage(offset: number): Promise<void> {
  const file = await open(path.join(directory, 'log', '0000000001.seg'), 'r+');
  await file.write(Buffer.from('damage'), 0, 6, offset);
  await file.close();
}

describe('scrub', () => {
  it('finds damage that nobody has read, in headers too, and names the shards', async () => {
    for (const name of [1, 2, 3]) await put(name);
    expect(await store.scrub()).toMatchObject({ segments: 1, records: 12, damaged: [] });
    await damage(64 + 500);
    // The header of the first block of shard 3: nothing in it can be believed.
    const entry = store.index.get(Buffer.concat([shard(3).objectHash, Buffer.from([3])]));
    if (entry?.kind !== 'live') throw new Error('shard 3 is missing');
    await damage(entry.blocks[0]!.offset + 4);
    const report = await store.scrub();
    expect(report.damaged.length).toBeGreaterThan(1);
    expect(store.damaged().map((found) => found.shard.index)).toContain(1);
    expect(store.damaged().map((found) => found.shard.index)).not.toContain(2);
    await expect(store.check(shard(1))).rejects.toMatchObject({ code: 'shard_damaged' });
    await store.check(shard(2));
  });

  it('goes on where it was interrupted', async () => {
    for (const name of [1, 2, 3]) {
      await put(name);
      await store.log.roll();
    }
    const abort = new AbortController();
    let next = 0;
    const interrupted = store.scrub({
      signal: abort.signal,
      onSegment: async (progress) => {
        ({ next } = progress);
        if (next === 3) abort.abort(new Error('enough'));
      },
    });
    await expect(interrupted).rejects.toThrow('enough');
    expect(next).toBe(3);
    expect(await store.scrub({ from: next })).toMatchObject({ segments: 2, records: 4 });
  });
});

describe('Upkeep', () => {
  function start(options: Partial<UpkeepOptions>): Upkeep {
    return Upkeep.start(store, {
      directory,
      compactionIntervalMs: 5,
      onError: (error) => {
        throw error;
      },
      ...options,
    });
  }

  it('compacts what is dead enough, and sooner when space is short', async () => {
    for (const name of [1, 2, 3, 4]) await put(name);
    await store.log.roll();
    await store.delete(shard(1));
    const usage = vi.spyOn(store, 'usage');
    const calm = start({ pressureFreeBytes: 0 });
    await expect.poll(() => usage.mock.calls.length, { timeout: 10_000 }).toBeGreaterThan(2);
    expect(store.log.segments.map(({ id }) => id)).toEqual([1, 2]);
    await calm.stop();

    const pressed = start({ pressureFreeBytes: Infinity });
    await expect.poll(() => store.log.segments.map(({ id }) => id), { timeout: 10_000 }).toEqual([2]);
    await pressed.stop();
    for (const name of [2, 3, 4]) await store.check(shard(name));
  });

  it('scrubs when it is due, and remembers when it was', async () => {
    await put(1);
    let nowMs = 1_000_000;
    let asked = 0;
    const reports: ScrubReport[] = [];
    const options = {
      scrubIntervalMs: 5,
      now: () => {
        asked += 1;
        return nowMs;
      },
      onScrubbed: (report: ScrubReport) => void reports.push(report),
    };
    let upkeep = start(options);
    await expect.poll(() => reports.length, { timeout: 10_000 }).toBe(1);
    await upkeep.stop();
    expect(JSON.parse(await readFile(path.join(directory, 'scrub.json'), 'utf8'))).toEqual({
      startedAtMs: 1_000_000,
    });
    upkeep = start(options);
    const before = asked;
    await expect.poll(() => asked - before, { timeout: 10_000 }).toBeGreaterThan(2);
    expect(reports.length).toBe(1);
    nowMs += 5;
    await expect.poll(() => reports.length, { timeout: 10_000 }).toBe(2);
    await upkeep.stop();
  });
});

describe('inspection', () => {
  async function fill(): Promise<void> {
    for (const name of [1, 2, 3]) await put(name);
    await store.delete(shard(2));
    await store.close();
  }

  it('verifies a sound directory', async () => {
    await fill();
    const report = await verifyStore({ directory });
    expect(report).toMatchObject({ sound: true, shards: 2, records: 13, damaged: [], indexDifferences: [] });
  });

  it('names damaged shards', async () => {
    await fill();
    await damage(64 + 500);
    const report = await verifyStore({ directory });
    expect(report).toMatchObject({ sound: false, shards: 2, indexDifferences: [] });
    expect(report.damaged).toHaveLength(1);
    expect(report.damagedShards).toMatchObject([{ shard: { index: 1 } }]);
  });

  it('sees an index that says something else than the log, and makes it anew', async () => {
    await fill();
    store = await ShardStore.open({ directory, stamp: STAMP, flushIntervalMs: 0 });
    // As if an update had been lost: what the index says was true before the delete.
    store.index.forgetGhost(Buffer.concat([shard(2).objectHash, Buffer.from([2])]), 1);
    await store.close();
    expect(await verifyStore({ directory })).toMatchObject({
      sound: false,
      indexDifferences: [{ index: 2 }],
    });
    expect((await reindexStore({ directory })).replay).toMatchObject({ rebuilt: true, records: 13 });
    expect(await verifyStore({ directory })).toMatchObject({ sound: true });
  });

  it('lists every record', async () => {
    await fill();
    const items: DumpedItem[] = [];
    for await (const item of dumpStore({ directory })) items.push(item);
    expect(items.map(({ kind }) => kind).join(' ')).toBe(`${'block block block close '.repeat(3)}tombstone`);
    expect(items[3]).toMatchObject({
      shard: { index: 1 },
      details: { sizeBytes: 2500, blocks: 3, epoch: '1' },
    });
  });

  it('leaves other directories alone', async () => {
    const other = await mkdtemp(path.join(tmpdir(), 's3d-other-'));
    await expect(verifyStore({ directory: other })).rejects.toMatchObject({ code: 'stamp_missing' });
    await expect(dumpStore({ directory: other }).next()).rejects.toMatchObject({ code: 'stamp_missing' });
    await rm(other, { recursive: true });
  });
});
