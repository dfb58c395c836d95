import { mkdtemp, open as openFile, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ShardKey } from './shard_storage.ts';
import { ShardStore, type ShardStoreOptions } from './shard_store.ts';
import { Random } from './testing/simulated_disk.ts';

const STAMP = { clusterId: 'c1', nodeId: 3 };
const OPTIONS = { epoch: 7n, blockSizeBytes: 1000 };

function shard(name: number, index = 0): ShardKey {
  const objectHash = Buffer.alloc(32);
  objectHash.writeUInt32BE(name, 0);
  return { objectHash, index };
}

async function* chunks(bytes: Uint8Array, size = 333): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function read(
  store: ShardStore,
  key: ShardKey,
  range?: { offset: number; lengthBytes: number },
): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of (await store.get(key, range)).body) pieces.push(piece);
  return Buffer.concat(pieces);
}

describe('ShardStore', () => {
  let directory: string;
  const opened: ShardStore[] = [];

  async function open(options: Partial<ShardStoreOptions> = {}): Promise<ShardStore> {
    const store = await ShardStore.open({ directory, stamp: STAMP, flushIntervalMs: 0, ...options });
    opened.push(store);
    return store;
  }

  beforeEach(async () => {
    directory = await mkdtemp(path.join(tmpdir(), 's3d-store-'));
  });
  afterEach(async () => {
    for (const store of opened.splice(0)) await store.close();
    await rm(directory, { recursive: true });
  });

  it('gives back shards of every size, whole and in ranges, after a reopen too', async () => {
    const random = new Random(1);
    const sizes = [0, 1, 999, 1000, 1001, 2000, 12_345];
    const bodies = sizes.map((size) => random.bytes(size));
    let store = await open();
    await Promise.all(bodies.map((body, name) => store.put(shard(name), OPTIONS, chunks(body))));
    for (const reopened of [false, true]) {
      if (reopened) {
        await store.close();
        store = await open();
        expect(store.recovery.replay).toMatchObject({ rebuilt: false, records: 0, damage: [] });
      }
      for (const [name, body] of bodies.entries()) {
        expect(await store.stat(shard(name))).toEqual({ ...shard(name), sizeBytes: body.length, ...OPTIONS });
        expect(body.equals(await read(store, shard(name)))).toBe(true);
        for (let round = 0; round < 10; round += 1) {
          const offset = random.below(body.length + 1);
          const lengthBytes = random.below(body.length - offset + 1);
          const part = await read(store, shard(name), { offset, lengthBytes });
          expect(part.equals(body.subarray(offset, offset + lengthBytes))).toBe(true);
        }
      }
      expect(await store.usage()).toMatchObject({
        shards: sizes.length,
        liveBytes: sizes.reduce((sum, size) => sum + size, 0),
      });
    }
  });

  it('says not found before the first byte, and refuses what breaks a rule', async () => {
    const store = await open();
    await expect(store.get(shard(1))).rejects.toMatchObject({ code: 'shard_not_found' });
    expect(await store.stat(shard(1))).toBeUndefined();
    expect(await store.delete(shard(1))).toBe(false);
    await store.put(shard(1), OPTIONS, chunks(Buffer.alloc(10)));
    const invalid = { code: 'shard_invalid' };
    await expect(store.get(shard(1), { offset: 5, lengthBytes: 6 })).rejects.toMatchObject(invalid);
    await expect(store.get({ objectHash: Buffer.alloc(31), index: 0 })).rejects.toMatchObject(invalid);
    await expect(store.get({ objectHash: Buffer.alloc(32), index: 256 })).rejects.toMatchObject(invalid);
    for (const blockSizeBytes of [0, 1.5, 16 * 1024 * 1024 + 1]) {
      const put = store.put(shard(1), { epoch: 1n, blockSizeBytes }, chunks(Buffer.alloc(1)));
      await expect(put).rejects.toMatchObject(invalid);
    }
  });

  it('shows nothing of a put whose body throws, and keeps what was there', async () => {
    const store = await open();
    await store.put(shard(1), OPTIONS, chunks(Buffer.from('old')));
    async function* failing(): AsyncGenerator<Uint8Array> {
      yield* chunks(Buffer.alloc(5000));
      throw new Error('the client went away');
    }
    await expect(store.put(shard(1), OPTIONS, failing())).rejects.toThrow('the client went away');
    await expect(store.put(shard(2), OPTIONS, failing())).rejects.toThrow('the client went away');
    expect((await read(store, shard(1))).toString()).toBe('old');
    expect(await store.stat(shard(2))).toBeUndefined();
  });

  it('lets the put that completes last win, however they interleave', async () => {
    let store = await open();
    const gate = Promise.withResolvers<undefined>();
    async function* slow(): AsyncGenerator<Uint8Array> {
      yield* chunks(Buffer.alloc(3000, 1));
      await gate.promise;
      yield* chunks(Buffer.alloc(3000, 1));
    }
    const first = store.put(shard(1), OPTIONS, slow());
    await store.put(shard(1), OPTIONS, chunks(Buffer.alloc(2500, 2)));
    expect((await read(store, shard(1))).equals(Buffer.alloc(2500, 2))).toBe(true);
    gate.resolve(undefined);
    await first;
    expect((await read(store, shard(1))).equals(Buffer.alloc(6000, 1))).toBe(true);
    await store.close();
    await rm(path.join(directory, 'index'), { recursive: true });
    store = await open();
    expect(store.recovery.replay.rebuilt).toBe(true);
    expect((await read(store, shard(1))).equals(Buffer.alloc(6000, 1))).toBe(true);
    expect(await store.usage()).toMatchObject({ shards: 1, liveBytes: 6000 });
  });

  it('deletes for good', async () => {
    let store = await open();
    await store.put(shard(1), OPTIONS, chunks(Buffer.alloc(2500)));
    await store.put(shard(1, 4), OPTIONS, chunks(Buffer.alloc(10)));
    expect(await store.delete(shard(1))).toBe(true);
    expect(await store.delete(shard(1))).toBe(false);
    for (const reopened of [false, true]) {
      if (reopened) {
        await store.close();
        await rm(path.join(directory, 'index'), { recursive: true });
        store = await open();
      }
      await expect(store.get(shard(1))).rejects.toMatchObject({ code: 'shard_not_found' });
      expect(await store.usage()).toMatchObject({ shards: 1, liveBytes: 10 });
    }
    await store.put(shard(1), OPTIONS, chunks(Buffer.from('again')));
    expect((await read(store, shard(1))).toString()).toBe('again');
  });

  it('deletes a shard of one epoch only, and not what was put anew under another', async () => {
    const store = await open();
    await store.put(shard(1), OPTIONS, chunks(Buffer.from('old')));
    expect(await store.delete(shard(1), { epoch: 8n })).toBe(false);
    await store.put(shard(1), { ...OPTIONS, epoch: 8n }, chunks(Buffer.from('new')));
    expect(await store.delete(shard(1), { epoch: 7n })).toBe(false);
    expect((await read(store, shard(1))).toString()).toBe('new');
    expect(await store.delete(shard(1), { epoch: 8n })).toBe(true);
    expect(await store.stat(shard(1))).toBeUndefined();
  });

  it('scans in order of hash, then index, in memory and on disk alike', async () => {
    const store = await open();
    const random = new Random(3);
    const live = new Set<string>();
    for (let round = 0; round < 300; round += 1) {
      const key = shard(random.below(40), random.below(3));
      const name = Buffer.concat([key.objectHash, Buffer.from([key.index])]).toString('hex');
      if (random.chance(0.3)) {
        await store.delete(key);
        live.delete(name);
      } else {
        await store.put(key, OPTIONS, chunks(Buffer.alloc(5)));
        live.add(name);
      }
      if (random.chance(0.05)) await store.checkpoint();
    }
    const found: string[] = [];
    let startAfter: ShardKey | undefined;
    for (;;) {
      const page = await store.scan(startAfter === undefined ? { limit: 7 } : { startAfter, limit: 7 });
      for (const { objectHash, index } of page) {
        found.push(Buffer.concat([objectHash, Buffer.from([index])]).toString('hex'));
      }
      startAfter = page.at(-1);
      if (page.length < 7) break;
    }
    expect(found).toEqual([...live].sort());
    expect((await store.usage()).shards).toBe(live.size);
  });

  it('keeps memory bounded while a put is faster than the disk', async () => {
    const store = await open({ maxUnsyncedBytes: 4000 });
    let given = 0;
    async function* fast(): AsyncGenerator<Uint8Array> {
      for (let at = 0; at < 50; at += 1) {
        given += 1000;
        // Everything that was given is in the log, but for the bound, the block being filled and this chunk.
        const written = store.log.segments.reduce((sum, segment) => sum + segment.sizeBytes, 0);
        expect(given - written).toBeLessThanOrEqual(4000 + 3000);
        yield Buffer.alloc(1000);
      }
    }
    await store.put(shard(1), OPTIONS, fast());
    expect((await store.stat(shard(1)))?.sizeBytes).toBe(50_000);
  });

  it('belongs to one node of one cluster', async () => {
    const store = await open();
    await store.close();
    await expect(open({ stamp: { clusterId: 'c1', nodeId: 4 } })).rejects.toMatchObject({
      code: 'stamp_mismatch',
      found: STAMP,
      expected: { clusterId: 'c1', nodeId: 4 },
      message: expect.stringMatching(/node 3 of cluster "c1"; this is node 4 of cluster "c1"/) as unknown,
    });
    await expect(open({ stamp: { clusterId: 'c2', nodeId: 3 } })).rejects.toMatchObject({
      code: 'stamp_mismatch',
    });
    const files = ['stamp.json', 'stamp.copy.json'].map((name) => path.join(directory, name));
    const damaged = '{"version":1,"clusterId":"c1","nodeId":4,"crc":1}';
    // Either one makes up for the other.
    for (const file of files) {
      await writeFile(file, damaged);
      await (await open()).close();
      await rm(file);
      await (await open()).close();
      expect(await readFile(file, 'utf8')).toContain('"nodeId":3');
    }
    for (const file of files) await writeFile(file, damaged);
    await expect(open()).rejects.toMatchObject({ code: 'stamp_damaged' });
    for (const file of files) await rm(file);
    await expect(open()).rejects.toMatchObject({ code: 'stamp_missing' });
  });

  it('is open once', async () => {
    await open();
    await expect(open()).rejects.toMatchObject({ code: 'log_locked' });
  });

  it('never serves a damaged block, and names the shard', async () => {
    let store = await open();
    const body = new Random(1).bytes(5000);
    await store.put(shard(1), OPTIONS, chunks(body));
    await store.put(shard(2), OPTIONS, chunks(body));
    await flip(path.join(directory, 'log', '0000000001.seg'), 64 + 2 * 1100);
    const pieces: Uint8Array[] = [];
    const { body: stream } = await store.get(shard(1));
    await expect(
      (async () => {
        for await (const piece of stream) pieces.push(piece);
      })(),
    ).rejects.toMatchObject({ code: 'shard_damaged' });
    const served = Buffer.concat(pieces);
    expect(served.length).toBeLessThan(body.length);
    expect(served.equals(body.subarray(0, served.length))).toBe(true);
    expect(store.damaged()).toMatchObject([{ shard: shard(1) }]);
    expect((await read(store, shard(2))).equals(body)).toBe(true);

    // A later start that replays the damage knows it too.
    await store.close();
    await rm(path.join(directory, 'index'), { recursive: true });
    store = await open();
    expect(store.recovery.replay.damage).toHaveLength(1);
    expect(store.damaged()).toMatchObject([{ shard: shard(1) }]);
    await store.put(shard(1), OPTIONS, chunks(body));
    expect(store.damaged()).toEqual([]);
    expect((await read(store, shard(1))).equals(body)).toBe(true);
  });

  it('rebuilds an index that is damaged, empty or of another log', async () => {
    let store = await open();
    for (let name = 0; name < 20; name += 1)
      await store.put(shard(name), OPTIONS, chunks(Buffer.alloc(name * 100)));
    await store.close();
    const index = path.join(directory, 'index');
    const damages: (() => Promise<void>)[] = [
      () => rm(index, { recursive: true }),
      () => writeFile(path.join(index, 'CURRENT'), 'nonsense\n'),
      async () => {
        for (const name of await readdir(index))
          if (name.startsWith('MANIFEST')) await rm(path.join(index, name));
      },
      async () => {
        for (const name of await readdir(index))
          if (/\.(log|ldb)$/.test(name)) await rm(path.join(index, name));
      },
    ];
    for (const damage of damages) {
      await damage();
      store = await open();
      expect(store.recovery.replay.rebuilt).toBe(true);
      expect(await store.usage()).toMatchObject({ shards: 20 });
      expect((await read(store, shard(9))).length).toBe(900);
      await store.close();
    }
  });

  it('catches up by itself once a second', async () => {
    const store = await open({ flushIntervalMs: 10 });
    await store.put(shard(1), OPTIONS, chunks(Buffer.alloc(10)));
    await expect.poll(() => store.checkpointed, { timeout: 5000 }).toEqual(store.log.end);
  });
});

async function flip(name: string, offset: number): Promise<void> {
  const file = await openFile(name, 'r+');
  const byte = Buffer.alloc(1);
  await file.read(byte, 0, 1, offset);
  byte[0]! ^= 1;
  await file.write(byte, 0, 1, offset);
  await file.close();
}
