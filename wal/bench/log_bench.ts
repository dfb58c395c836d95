import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { mkdtemp, open, rm } from 'node:fs/promises';
import * as os from 'node:os';
import * as path from 'node:path';
import { Log } from '../log.ts';
import { ShardStore } from '../shard_store.ts';

/**
 * Measures the log and the shard store against the plain system calls under them, on the same disk in the same run:
 * `node wal/bench/log_bench.ts [directory]`. Compare ratios; absolute numbers are the disk's. Takes about 20 s.
 */
const KIB = 1024;
const MIB = 1024 * KIB;
const RUN_MS = 1500;
const SEQUENTIAL_BYTES = 256 * MIB;

function print(name: string, value: string): void {
  process.stdout.write(`${name.padEnd(58)} ${value}\n`);
}

/** Calls a second, with `writers` at a time. */
async function rate(writers: number, call: () => Promise<unknown>): Promise<number> {
  const begin = performance.now();
  let calls = 0;
  await Promise.all(
    Array.from({ length: writers }, async () => {
      while (performance.now() - begin < RUN_MS) {
        await call();
        calls += 1;
      }
    }),
  );
  return (calls * 1000) / (performance.now() - begin);
}

async function megabytesPerSecond(bytes: number, action: () => Promise<void>): Promise<number> {
  const begin = performance.now();
  await action();
  return bytes / 1e6 / ((performance.now() - begin) / 1000);
}

async function plainSyncs(directory: string, bytes: Buffer): Promise<number> {
  const file = await open(path.join(directory, 'plain'), 'w');
  let at = 0;
  const result = await rate(1, async () => {
    await file.write(bytes, 0, bytes.length, at);
    await file.datasync();
    at += bytes.length;
  });
  await file.close();
  return result;
}

async function plainDsync(directory: string, bytes: Buffer): Promise<number> {
  const { O_WRONLY, O_CREAT, O_DSYNC } = constants;
  const synced = await open(path.join(directory, 'dsync'), O_WRONLY | O_CREAT | O_DSYNC);
  const result = await megabytesPerSecond(SEQUENTIAL_BYTES, async () => {
    for (let at = 0; at < SEQUENTIAL_BYTES; at += bytes.length)
      await synced.write(bytes, 0, bytes.length, at);
  });
  await synced.close();
  return result;
}

async function* chunks(bytes: Buffer, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function benchLog(directory: string): Promise<void> {
  const small = randomBytes(4 * KIB);
  const large = randomBytes(MIB);
  const key = randomBytes(32);
  const plain = await plainSyncs(directory, small);
  print('4 KiB write + fdatasync, one by one', `${plain.toFixed(0)}/s`);
  const log = await Log.open({ directory: path.join(directory, 'log') });
  for (const writers of [1, 16, 64, 256]) {
    const appends = await rate(writers, () => log.append([{ type: 1, key, payload: small }]));
    print(`4 KiB append, ${writers} writers`, `${appends.toFixed(0)}/s, ${(appends / plain).toFixed(1)}x`);
  }
  const dsync = await plainDsync(directory, large);
  print('1 MiB plain O_DSYNC writes', `${dsync.toFixed(0)} MB/s`);
  for (const writers of [1, 4, 16]) {
    const appended = await megabytesPerSecond(SEQUENTIAL_BYTES, async () => {
      let left = SEQUENTIAL_BYTES / MIB;
      await Promise.all(
        Array.from({ length: writers }, async () => {
          while (left-- > 0) await log.append([{ type: 1, key, payload: large }]);
        }),
      );
    });
    print(
      `1 MiB append, ${writers} writers`,
      `${appended.toFixed(0)} MB/s, ${(appended / dsync).toFixed(2)}x`,
    );
  }
  let bytes = 0;
  for (const segment of log.segments) bytes += segment.sizeBytes;
  const scanned = await megabytesPerSecond(bytes, async () => {
    for await (const item of log.scan()) if (item.kind === 'damage') throw new Error(item.reason);
  });
  print(`scan of ${(bytes / 1e6).toFixed(0)} MB from page cache`, `${(scanned / 1000).toFixed(2)} GB/s`);
  await log.close();
}

async function benchStore(directory: string): Promise<void> {
  const store = await ShardStore.open({
    directory: path.join(directory, 'store'),
    stamp: { clusterId: 'bench', nodeId: 0 },
  });
  const options = { epoch: 1n, blockSizeBytes: MIB };
  const body = randomBytes(64 * MIB);
  const shard = (name: number) => ({ objectHash: Buffer.alloc(32, name), index: 0 });
  const put = await megabytesPerSecond(4 * body.length, async () => {
    await Promise.all([0, 1, 2, 3].map((name) => store.put(shard(name), options, chunks(body, 256 * KIB))));
  });
  print('4 puts of 64 MiB at once', `${put.toFixed(0)} MB/s`);
  const read = await megabytesPerSecond(4 * body.length, async () => {
    for (const name of [0, 1, 2, 3]) {
      let bytes = 0;
      for await (const piece of (await store.get(shard(name))).body) bytes += piece.length;
      if (bytes !== body.length) throw new Error('short read');
    }
  });
  print('get of 64 MiB from page cache', `${(read / 1000).toFixed(2)} GB/s`);
  let next = 0;
  const small = randomBytes(4 * KIB);
  const name = (number: number) => {
    const objectHash = Buffer.alloc(32);
    objectHash.writeUInt32BE(number, 0);
    return { objectHash, index: 1 };
  };
  const puts = await rate(64, () => store.put(name(next++), options, chunks(small, small.length)));
  print('4 KiB puts, 64 at a time', `${puts.toFixed(0)}/s`);
  let at = 0;
  const gets = await rate(64, async () => {
    at = (at + 7919) % next;
    for await (const piece of (await store.get(name(at))).body)
      if (piece.length !== 4 * KIB) throw new Error('short');
  });
  print('4 KiB gets, 64 at a time', `${gets.toFixed(0)}/s`);
  const begin = performance.now();
  const total = next;
  await Promise.all(
    Array.from({ length: 64 }, async () => {
      while (next > 0) await store.delete(name(--next));
    }),
  );
  print('deletes, 64 at a time', `${((total * 1000) / (performance.now() - begin)).toFixed(0)}/s`);
  await store.close();
}

const directory = await mkdtemp(path.join(process.argv[2] ?? os.tmpdir(), 's3d-bench-'));
try {
  await benchLog(directory);
  await benchStore(directory);
} finally {
  await rm(directory, { recursive: true });
}
