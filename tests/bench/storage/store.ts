import { randomBytes } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ShardStore } from '../../../wal/shard_store.ts';
import { bestOf, gigabytesPerSecond, type Measured } from './target.ts';

const kib = 1024;
const mib = 1024 * kib;
const stamp = { clusterId: 'bench', nodeId: 0 };
const smallShards = Number(process.env['BENCH_SMALL_SHARDS'] ?? 1_000_000);

export async function measureStore(directory: string, rounds: number): Promise<Measured[]> {
  return [await measureReads(directory, rounds), await measureRebuild(directory)];
}

/** Whole shards in blocks as a gateway writes them, checked before they leave. */
async function measureReads(directory: string, rounds: number): Promise<Measured> {
  const store = await ShardStore.open({ directory: join(directory, 'reads'), stamp });
  const body = randomBytes(32 * mib);
  const shards = [1, 2, 3, 4].map((name) => ({ objectHash: Buffer.alloc(32, name), index: 0 }));
  for (const shard of shards) await store.put(shard, { epoch: 1n, blockSizeBytes: 256 * kib }, chunks(body));
  const best = await bestOf(3 * rounds, {
    read: () =>
      gigabytesPerSecond(shards.length * body.length, async () => {
        for (const shard of shards) {
          let bytes = 0;
          for await (const piece of (await store.get(shard)).body) bytes += piece.length;
          if (bytes !== body.length) throw new Error('short read');
        }
      }),
  });
  await store.close();
  return { name: 'shard reads from page cache', value: best.read, unit: 'GB/s', target: 1.5 };
}

/** Opening a store whose index is gone. */
async function measureRebuild(directory: string): Promise<Measured> {
  const options = { directory: join(directory, 'rebuild'), stamp };
  const store = await ShardStore.open(options);
  const payload = randomBytes(kib);
  let next = 0;
  await Promise.all(
    Array.from({ length: 1024 }, async () => {
      while (next < smallShards) {
        const objectHash = Buffer.alloc(32);
        // Hashes are spread evenly, so the index is written in no order.
        objectHash.writeUInt32BE(Math.imul(next, 0x9e37_79b1) >>> 0, 0);
        objectHash.writeUInt32BE(next++, 4);
        await store.put({ objectHash, index: 1 }, { epoch: 1n, blockSizeBytes: 256 * kib }, chunks(payload));
      }
    }),
  );
  await store.close();
  await rm(join(options.directory, 'index'), { recursive: true });
  const begin = performance.now();
  const opened = await ShardStore.open(options);
  const seconds = (performance.now() - begin) / 1000;
  const { shards } = await opened.usage();
  if (shards !== smallShards) throw new Error(`${shards} shards instead of ${smallShards}`);
  await opened.close();
  return {
    name: `index rebuild of ${smallShards.toLocaleString('en')} small shards`,
    value: seconds,
    unit: 's',
    target: 30,
    most: true,
  };
}

async function* chunks(bytes: Buffer): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 256 * kib) yield bytes.subarray(at, at + 256 * kib);
}
