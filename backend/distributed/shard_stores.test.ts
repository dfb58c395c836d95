import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, open, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { ShardStore } from '../../wal/shard_store.ts';
import { systemClock } from '../clock.ts';
import { ContentMissingError } from '../data_store.ts';
import { DistributedDataStore } from './data_store.ts';
import { decodeLocator } from './locator.ts';
import type { NodeState, ShardNode } from './ports.ts';
import { get, put, repairs } from './testing/cluster.ts';
import { MemoryState } from './testing/memory_state.ts';

const mib = 1024 * 1024;
const logger = { info: () => undefined, warn: () => undefined, error: () => undefined };

let directory: string;
let stores: ShardStore[];
let states: NodeState[];
let state: MemoryState;
let store: DistributedDataStore;

function openNode(id: number): Promise<ShardStore> {
  return ShardStore.open({
    directory: join(directory, `node-${id}`),
    stamp: { clusterId: 'test', nodeId: id },
    // Five nodes in one process: each may hold a fifth of what it usually may.
    maxUnsyncedBytes: 2 * mib,
    log: { segmentSizeBytes: 64 * mib },
  });
}

/** The shard stores of five nodes on disk, in this process. */
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 's3d-shards-'));
  stores = await Promise.all([0, 1, 2, 3, 4].map(openNode));
  states = stores.map(() => 'up');
  state = new MemoryState();
  store = await DistributedDataStore.open({
    rs: { data: 3, parity: 2 },
    nodes: () =>
      stores.map((storage, id): ShardNode => ({
        id,
        host: `host-${id}`,
        storage,
        state: () => states[id] ?? 'down',
      })),
    state,
    clock: systemClock,
    logger,
    randomBytes,
    holder: 'test',
  });
});

afterEach(async () => {
  await store.close();
  await Promise.all(stores.map((each) => each.close()));
  await rm(directory, { recursive: true, force: true });
});

describe('on real shard stores', () => {
  it('content comes back, also after a restart and without any two of the nodes', async () => {
    const contents = [0, 1, 5, 4096, 786_431, 786_432, 786_433, 5 * mib + 3].map((size) => randomBytes(size));
    const locators = await Promise.all(contents.map(async (bytes) => (await put(store, bytes)).locator));
    await Promise.all(stores.map((each) => each.close()));
    stores = await Promise.all([0, 1, 2, 3, 4].map(openNode));
    for (let a = 0; a < 5; a += 1) {
      for (let b = a; b < 5; b += 1) {
        states[a] = 'down';
        states[b] = 'down';
        for (const [i, bytes] of contents.entries()) {
          expect((await get(store, locators[i]!)).equals(bytes)).toBe(true);
        }
        states.fill('up');
      }
    }
  });

  it('a node that lost its disk costs nothing', async () => {
    const bytes = randomBytes(3 * mib);
    const { locator } = await put(store, bytes);
    for (const id of [1, 4]) {
      await stores[id]!.close();
      await rm(join(directory, `node-${id}`), { recursive: true });
      stores[id] = await openNode(id);
    }
    expect((await get(store, locator)).equals(bytes)).toBe(true);
    await store.close();
    const { placement } = decodeLocator(locator);
    const lostData = [placement.indexOf(1), placement.indexOf(4)].filter((index) => index < 3);
    expect((await repairs(state))[0] ?? []).toEqual(expect.arrayContaining(lostData));
  });

  it('a flipped bit on a disk never comes out', async () => {
    const bytes = randomBytes(4 * mib);
    const { locator } = await put(store, bytes);
    const { placement } = decodeLocator(locator);
    await Promise.all(stores.map((each) => each.close()));
    // In the middle of the first data shard's third block.
    const log = join(directory, `node-${placement[0]!}`, 'log');
    const names = (await readdir(log)).filter((name) => /seg|log|\d/.test(name));
    let flipped = 0;
    for (const name of names) {
      const file = await open(join(log, name), 'r+');
      const { size } = await file.stat();
      if (size > mib) {
        const all = await file.readFile();
        const at = all.indexOf(bytes.subarray(2 * 786_432 + 1000, 2 * 786_432 + 1032));
        if (at >= 0) {
          await file.write(Buffer.of(all[at]! ^ 1), 0, 1, at);
          flipped += 1;
        }
      }
      await file.close();
    }
    expect(flipped).toBe(1);
    stores = await Promise.all([0, 1, 2, 3, 4].map(openNode));
    expect((await get(store, locator)).equals(bytes)).toBe(true);
    await store.close();
    expect(await repairs(state)).toEqual([[0]]);
  });

  it('removed content is gone', async () => {
    const { locator } = await put(store, randomBytes(2 * mib));
    await store.remove(locator);
    await expect(store.read(locator)).rejects.toThrow(ContentMissingError);
    expect((await Promise.all(stores.map((each) => each.usage()))).map((usage) => usage.shards)).toEqual([
      0, 0, 0, 0, 0,
    ]);
  });

  it('memory stays flat for big content, both ways', async () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    /** What is still referenced, in and beside the heap. */
    const held = (): number => {
      collect();
      const { arrayBuffers, heapUsed } = process.memoryUsage();
      return arrayBuffers + heapUsed;
    };
    const piece = randomBytes(mib);
    const count = 160;
    const before = held();
    let most = before;
    const sent = createHash('sha1');
    const body = async function* (): AsyncGenerator<Uint8Array> {
      for (let i = 0; i < count; i += 1) {
        const fresh = Buffer.from(piece);
        fresh.writeUInt32LE(i);
        sent.update(fresh);
        if (i % 10 === 9) most = Math.max(most, held());
        yield fresh;
      }
    };
    const { locator } = await store.write(randomBytes(32), body(), { sizeBytes: count * mib });
    const putGrowth = most - before;
    most = before;
    const received = createHash('sha1');
    let bytesRead = 0;
    for await (const bytes of await store.read(locator)) {
      received.update(bytes);
      bytesRead += bytes.byteLength;
      if (bytesRead % (10 * mib) < bytes.byteLength) most = Math.max(most, held());
      await new Promise(setImmediate);
    }
    expect(received.digest('hex')).toBe(sent.digest('hex'));
    expect(putGrowth).toBeLessThan(80 * mib);
    expect(most - before).toBeLessThan(80 * mib);
  });
});
