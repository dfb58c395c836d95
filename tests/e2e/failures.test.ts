import { readFileSync } from 'node:fs';
import { get } from 'node:https';
import { open, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { CreateBucketCommand } from '@aws-sdk/client-s3';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { testKeys } from '../cluster/test_config.ts';
import { awsSdk } from './clients/aws_sdk.ts';
import { putRandom, sha256OfObject } from './clients/objects.ts';
import { startDistributed } from './servers.ts';

const MiB = 1 << 20;

describe('a cluster of three database and five shard processes, RS(3,2)', () => {
  let store: Awaited<ReturnType<typeof startDistributed>>;
  /** What was acknowledged: key -> SHA-256. */
  const acknowledged = new Map<string, string>();

  const gateway = (id: number): ReturnType<typeof awsSdk> => {
    const server = store.cluster.nodes.get(id);
    if (server === undefined) throw new Error(`node ${id} was never started`);
    return awsSdk({ url: server.url, caFile: store.cluster.caFile, keys: testKeys });
  };
  const put = async (id: number, key: string, sizeBytes: number): Promise<void> => {
    acknowledged.set(key, await putRandom(gateway(id), { bucket: 'failures', key, sizeBytes }));
  };
  /** Resolves once no object is short of shards: what may be lost counts from there. */
  const whole = async (): Promise<void> => {
    const until = performance.now() + 120_000;
    while ((await shortObjects(store)) > 0) {
      if (performance.now() > until) throw new Error('objects are still short of shards after two minutes');
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  };
  const expectAllRight = async (id: number): Promise<void> => {
    const s3 = gateway(id);
    for (const [key, sha256] of acknowledged) {
      expect(await sha256OfObject(s3, { bucket: 'failures', key }), key).toBe(sha256);
    }
  };

  beforeAll(async () => {
    store = await startDistributed();
    await gateway(0).send(new CreateBucketCommand({ Bucket: 'failures' }));
    for (const sizeBytes of [0, 1, 100_000, 3 * MiB, 20 * MiB])
      await put(sizeBytes % 5, `size-${sizeBytes}`, sizeBytes);
    await put(0, 'big', 150 * MiB);
    await whole();
  });
  afterAll(async () => {
    await store.stop();
  });
  /** Whatever a test killed is started again, on the data it left. */
  afterEach(async () => {
    const { cluster } = store;
    await Promise.all(
      [...cluster.databases].filter(([, s]) => !s.running).map(([id]) => cluster.startDatabase(id)),
    );
    await Promise.all([...cluster.nodes].filter(([, s]) => !s.running).map(([id]) => cluster.startNode(id)));
    await whole();
  });

  test('two shard processes killed by -9 during a download: it finishes, and every object reads back', async () => {
    let killed = false;
    const sha256 = await sha256OfObject(gateway(0), {
      bucket: 'failures',
      key: 'big',
      onBytes: async (bytes) => {
        if (killed || bytes < 20 * MiB) return;
        killed = true;
        await Promise.all([3, 4].map(async (id) => store.cluster.nodes.get(id)?.kill('SIGKILL')));
      },
    });
    expect(killed).toBe(true);
    expect(sha256).toBe(acknowledged.get('big'));
    await expectAllRight(1);
  });

  test('one shard process killed: writes go on, and what was written is right after it is back', async () => {
    await store.cluster.nodes.get(2)?.kill('SIGKILL');
    for (let i = 0; i < 5; i++) await put(i === 2 ? 0 : i, `degraded-${i}`, (i + 1) * 700_000);
    await expectAllRight(0);
  });

  test.each([1, 2, 3])('database process %i killed: writes and reads go on', async (id) => {
    await store.cluster.databases.get(id)?.kill('SIGKILL');
    for (let i = 0; i < 5; i++) await put(i, `without-db-${id}-${i}`, 10_000);
    await expectAllRight(id);
  });

  test('everything killed by -9 at once under load: every acknowledged object is there and right', async () => {
    const stop = new AbortController();
    const load = async (worker: number): Promise<void> => {
      for (let i = 0; !stop.signal.aborted; i++) {
        // What is not acknowledged may or may not be there; what is, must be.
        const wait = await put(worker % 5, `load-${worker}-${i}`, (i % 4) * 400_000 + 1).then(
          () => 0,
          () => 20,
        );
        await new Promise((resolve) => setTimeout(resolve, wait));
      }
    };
    const before = acknowledged.size;
    const workers = Array.from({ length: 10 }, (_, worker) => load(worker));
    const until = performance.now() + 30_000;
    while (acknowledged.size < before + 100 && performance.now() < until)
      await new Promise((resolve) => setTimeout(resolve, 10));
    const all = [...store.cluster.nodes.values(), ...store.cluster.databases.values()];
    await Promise.all(all.map((server) => server.kill('SIGKILL')));
    stop.abort();
    await Promise.all(workers);
    expect(acknowledged.size - before).toBeGreaterThanOrEqual(100);
    await store.cluster.startAll();
    await expectAllRight(2);
  });

  test('flipped bytes in the segments of two nodes are never served', async () => {
    for (const id of [1, 2]) {
      const node = store.cluster.config.nodes.find((entry) => entry.id === id);
      const flips = await flipBytes(node?.path ?? '');
      expect(flips).toBeGreaterThan(100);
    }
    await expectAllRight(0);
    await expectAllRight(1);
  });
});

/** How many objects wait for repair, as the admin listener of the first gateway says. */
async function shortObjects(store: Awaited<ReturnType<typeof startDistributed>>): Promise<number> {
  const url = new URL(store.endpoints[0].url);
  const options = {
    host: url.hostname,
    port: Number(url.port) + 1000,
    path: '/cluster',
    auth: `${testKeys.accessKeyId}:${testKeys.secretAccessKey}`,
    ca: readFileSync(store.endpoints[0].caFile),
    agent: false as const,
  };
  return new Promise((resolve, reject) => {
    const outgoing = get(options, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      response.on('end', () => resolve((JSON.parse(text) as { repair: { objects: number } }).repair.objects));
    });
    outgoing.on('error', reject);
  });
}

/** Flips one bit in every 64 KiB of every segment file below a directory, while its node runs. */
async function flipBytes(directory: string): Promise<number> {
  const names = await readdir(directory, { recursive: true });
  let flips = 0;
  for (const name of names.filter(
    (file) => /\.(seg|segment|log|wal)$/.test(file) && !file.includes('index'),
  )) {
    const file = await open(join(directory, name), 'r+');
    const { size } = await stat(join(directory, name));
    const byte = Buffer.alloc(1);
    for (let at = 40_000; at < size; at += 65_536, flips++) {
      await file.read(byte, 0, 1, at);
      byte[0] = (byte[0] ?? 0) ^ 0x10;
      await file.write(byte, 0, 1, at);
    }
    await file.close();
  }
  return flips;
}
