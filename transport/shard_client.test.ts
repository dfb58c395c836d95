import { Buffer } from 'node:buffer';
import { createHash, randomBytes } from 'node:crypto';
import { afterEach, describe, expect, it } from 'vitest';
import { LogFullError, WalError } from '../wal/errors.ts';
import { ShardDamagedError, ShardInvalidError, ShardNotFoundError } from '../wal/shard_errors.ts';
import type { DeleteOptions, ShardKey, ShardStat, ShardStorage } from '../wal/shard_storage.ts';
import { http3Driver } from './drivers/http3.ts';
import { PipeNetwork } from './drivers/pipe.ts';
import { TransportError } from './errors.ts';
import { ShardClient } from './shard_client.ts';
import { maxScanLimit, shardMethods } from './shard_protocol.ts';
import { shardHandlers } from './shard_server.ts';
import { collect, endless, failing, list, pieces, sha256, watched } from './testing/bodies.ts';
import { Rig } from './testing/rig.ts';
import type { Peer } from './transport.ts';

describe.each([
  ['pipe', { driver: () => new PipeNetwork().driver, secure: false }],
  ['http3', { driver: () => http3Driver, secure: true }],
] as const)('shards over %s', (_, subject) => {
  const rig = new Rig(subject);
  afterEach(() => rig.close());

  async function connect(storage: ShardStorage = new MemoryShards()): Promise<ShardClient> {
    return new ShardClient(await rig.pair(shardHandlers(storage)), { deadlineMs: 5000 });
  }

  it.each([0, 1, 1000, 65_536, 65_537, 3_000_000])('stores and gives back %i bytes', async (size) => {
    const client = await connect();
    const bytes = randomBytes(size);
    const options = { epoch: 0xffff_ffff_ffffn, blockSizeBytes: 128 * 1024 };
    const stat = await client.put(key('a', 200), options, pieces(bytes, 50_000));
    expect(stat).toEqual({ ...key('a', 200), sizeBytes: size, ...options });
    const whole = await client.get(key('a', 200));
    expect(whole.stat).toEqual(stat);
    expect(sha256(await collect(whole.body))).toBe(sha256(bytes));
    expect(await client.stat(key('a', 200))).toEqual(stat);
    const range = { offset: Math.floor(size / 3), lengthBytes: Math.floor(size / 2) };
    const part = await client.get(key('a', 200), range);
    const expected = bytes.subarray(range.offset, range.offset + range.lengthBytes);
    expect(sha256(await collect(part.body))).toBe(sha256(expected));
  });

  it('deletes, and says whether there was something', async () => {
    const storage = new MemoryShards();
    const client = await connect(storage);
    await client.put(key('a', 0), { epoch: 1n, blockSizeBytes: 1024 }, list([Buffer.from('x')]));
    expect(await client.delete(key('a', 0))).toBe(true);
    expect(await client.delete(key('a', 0))).toBe(false);
    await client.delete(key('a', 0), { epoch: 2n ** 63n });
    expect(storage.deleted).toEqual([{}, {}, { epoch: 2n ** 63n }]);
    expect(await client.stat(key('a', 0))).toBeUndefined();
  });

  it('scans in order and in pages', async () => {
    const client = await connect();
    for (let i = 0; i < 5; i++) {
      await client.put(key('a', i), { epoch: 1n, blockSizeBytes: 1024 }, list([Buffer.alloc(i)]));
    }
    const first = await client.scan({ limit: 3 });
    expect(first.map(({ index }) => index)).toEqual([0, 1, 2]);
    const startAfter = first.at(-1);
    if (startAfter === undefined) throw new Error('nothing scanned');
    expect((await client.scan({ startAfter, limit: 1_000_000 })).map(({ index }) => index)).toEqual([3, 4]);
  });

  it('carries the largest page of a scan', async () => {
    const storage = new MemoryShards();
    const stat = { ...key('a', 1), sizeBytes: 5, blockSizeBytes: 4096, epoch: 9n };
    storage.scan = (options) => Promise.resolve(Array.from({ length: options.limit }, () => stat));
    const client = await connect(storage);
    expect((await client.scan({ limit: 1_000_000 })).length).toBe(maxScanLimit);
  });

  it('tells usage and answers a ping', async () => {
    const client = await connect();
    expect(await client.usage()).toEqual({ liveBytes: 0, usedBytes: 2 ** 52, freeBytes: 7, shards: 0 });
    expect(await client.ping()).toBeGreaterThan(0);
    expect(client.state).toBe('up');
  });

  it('keeps the class and code of the store’s errors', async () => {
    const storage = new MemoryShards();
    const client = await connect(storage);
    const missing = await client.get(key('m', 3)).catch((error: unknown) => error);
    expect(missing).toBeInstanceOf(ShardNotFoundError);
    expect((missing as Error).message).toBe(new ShardNotFoundError(key('m', 3)).message);

    storage.failure = new LogFullError('no space');
    const full = client.put(key('a', 0), { epoch: 1n, blockSizeBytes: 1 }, list([Buffer.from('x')]));
    await expect(full).rejects.toSatisfy((e) => e instanceof LogFullError && e.code === 'log_full');
    storage.failure = new ShardInvalidError('no');
    await expect(client.delete(key('a', 0))).rejects.toBeInstanceOf(ShardInvalidError);
    storage.failure = new WalError('log_busy', 'busy');
    await expect(client.usage()).rejects.toMatchObject({ code: 'log_busy' });
    storage.failure = new Error('a bug');
    await expect(client.usage()).rejects.toMatchObject({ code: 'remote', remoteCode: 'internal' });
  });

  it('reports damage that shows midway, with the class it has', async () => {
    const storage = new MemoryShards();
    const stat: ShardStat = { ...key('a', 1), sizeBytes: 2000, blockSizeBytes: 1000, epoch: 1n };
    const damage = new ShardDamagedError(key('a', 1), 'block 1');
    storage.get = () => Promise.resolve({ stat, body: failing(Buffer.alloc(1000), damage) });
    const client = await connect(storage);
    const { body } = await client.get(key('a', 1));
    const error = await collect(body).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(ShardDamagedError);
    expect((error as Error).message).toBe(damage.message);
  });

  it('gives the caller its own body’s error and leaves nothing behind', async () => {
    const storage = new MemoryShards();
    const client = await connect(storage);
    const options = { epoch: 1n, blockSizeBytes: 1024 };
    const mine = new RangeError('mine');
    await expect(client.put(key('a', 0), options, failing(Buffer.alloc(10), mine))).rejects.toBe(mine);
    await expect(client.put(key('a', 0), options, failing(Buffer.alloc(100_000), mine))).rejects.toBe(mine);
    expect(await client.stat(key('a', 0))).toBeUndefined();
  });

  it('stops a put when the store refuses it early', async () => {
    const storage = new MemoryShards();
    storage.failure = new LogFullError('no space');
    const client = await connect(storage);
    const put = client.put(key('a', 0), { epoch: 1n, blockSizeBytes: 1024 }, endless());
    await expect(put).rejects.toBeInstanceOf(LogFullError);
  });

  it('ends the source of a put that never began', async () => {
    const client = await connect();
    await client.peer.close();
    const ended = Promise.withResolvers<undefined>();
    const body = watched(endless(), ended);
    const put = client.put(key('a', 0), { epoch: 1n, blockSizeBytes: 1024 }, body);
    await expect(put).rejects.toMatchObject({ code: 'cancelled' });
    await ended.promise;
  });

  it('can be given up by a signal', async () => {
    const client = await connect();
    const controller = new AbortController();
    const put = client
      .with({ signal: controller.signal })
      .put(key('a', 0), { epoch: 1n, blockSizeBytes: 1024 }, endless());
    setTimeout(() => controller.abort(), 50);
    await expect(put).rejects.toMatchObject({ code: 'cancelled' });
  });

  it('refuses headers that make no sense', async () => {
    const peer: Peer = (await connect()).peer;
    for (const method of Object.values(shardMethods).filter(
      (m) => m !== 'shard.usage' && m !== 'shard.ping',
    )) {
      for (const header of [
        Buffer.alloc(0),
        Buffer.from([9]),
        Buffer.from([1, 2, 3]),
        Buffer.alloc(60_000, 1),
      ]) {
        const call = peer.call(method, { header }, { deadlineMs: 5000 });
        await expect(call).rejects.toMatchObject({ code: 'remote', remoteCode: 'protocol' });
      }
    }
    const short = { objectHash: Buffer.alloc(31), index: 1 };
    await expect(new ShardClient(peer).stat(short)).rejects.toBeInstanceOf(TypeError);
  });

  it('lets transport errors through', async () => {
    const client = await connect();
    await client.peer.close();
    await expect(client.stat(key('a', 1))).rejects.toBeInstanceOf(TransportError);
  });
});

function key(name: string, index: number): ShardKey {
  return { objectHash: new Uint8Array(createHash('sha256').update(name).digest()), index };
}

function text(shard: ShardKey): string {
  return `${Buffer.from(shard.objectHash).toString('hex')}/${String(shard.index).padStart(3, '0')}`;
}

/** What a shard store does, without a disk. */
class MemoryShards implements ShardStorage {
  readonly deleted: DeleteOptions[] = [];
  failure: Error | undefined;
  readonly #shards = new Map<string, { readonly stat: ShardStat; readonly bytes: Buffer }>();

  async put(
    shard: ShardKey,
    options: { epoch: bigint; blockSizeBytes: number },
    body: AsyncIterable<Uint8Array>,
  ) {
    this.#check();
    const bytes = await collect(body);
    const stat = { ...shard, ...options, sizeBytes: bytes.length };
    this.#shards.set(text(shard), { stat, bytes });
    return stat;
  }

  async get(shard: ShardKey, range?: { offset: number; lengthBytes: number }) {
    this.#check();
    const found = this.#shards.get(text(shard));
    if (found === undefined) throw new ShardNotFoundError(shard);
    const bytes =
      range === undefined
        ? found.bytes
        : found.bytes.subarray(range.offset, range.offset + range.lengthBytes);
    return { stat: found.stat, body: pieces(bytes, 100_000) };
  }

  async stat(shard: ShardKey) {
    this.#check();
    return this.#shards.get(text(shard))?.stat;
  }

  async delete(shard: ShardKey, options: DeleteOptions = {}) {
    this.deleted.push(options);
    this.#check();
    return this.#shards.delete(text(shard));
  }

  async scan(options: { startAfter?: ShardKey; limit: number }): Promise<readonly ShardStat[]> {
    this.#check();
    const after = options.startAfter === undefined ? '' : text(options.startAfter);
    return [...this.#shards.entries()]
      .filter(([name]) => name > after)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .slice(0, options.limit)
      .map(([, { stat }]) => stat);
  }

  async usage() {
    this.#check();
    return { liveBytes: 0, usedBytes: 2 ** 52, freeBytes: 7, shards: this.#shards.size };
  }

  #check(): void {
    if (this.failure !== undefined) throw this.failure;
  }
}
