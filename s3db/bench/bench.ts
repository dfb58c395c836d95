/**
 * Writes and reads per second of one and three replicas in this process, over TLS with SigV4 and real fdatasync, beside what
 * the disk does. `node s3db/bench/bench.ts [seconds]`. Compare ratios: replicas, clients and disk share the machine.
 */
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Database } from '../database.ts';
import { TestCluster } from '../testing/test_cluster.ts';

const seconds = Number(process.argv[2] ?? 3);
const value = new Uint8Array(256).fill(7);

async function measure(name: string, clients: number, run: (n: number) => Promise<void>): Promise<void> {
  const latencies: number[] = [];
  const endMs = performance.now() + seconds * 1000;
  const startMs = performance.now();
  let n = 0;
  await Promise.all(
    Array.from({ length: clients }, async () => {
      while (performance.now() < endMs) {
        const beganMs = performance.now();
        await run(n++);
        latencies.push(performance.now() - beganMs);
      }
    }),
  );
  const elapsedMs = performance.now() - startMs;
  latencies.sort((a, b) => a - b);
  const at = (q: number): string => (latencies[Math.floor(latencies.length * q)] ?? 0).toFixed(2);
  const rate = Math.round((latencies.length * 1000) / elapsedMs);
  process.stdout.write(
    `${name.padEnd(36)} ${String(clients).padStart(4)} clients ${String(rate).padStart(7)}/s  p50 ${at(0.5)} ms  p99 ${at(0.99)} ms\n`,
  );
}

async function disk(): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 's3db-bench-'));
  const file = await open(join(directory, 'f'), 'w');
  const block = Buffer.alloc(4096, 1);
  await measure('append 4 KiB + fdatasync', 1, async () => {
    await file.write(block);
    await file.datasync();
  });
  await file.close();
  await rm(directory, { recursive: true });
}

async function database(name: string, db: Database, clients: readonly number[]): Promise<void> {
  const key = (n: number): Uint8Array => Buffer.from(`key-${n % 5000}`);
  for (const count of clients) {
    await measure(`${name} put 256 B`, count, async (n) => {
      await db.batch({ conditions: [], operations: [{ type: 'put', table: 't', key: key(n), value }] });
    });
  }
  for (const count of clients) {
    await measure(`${name} get linearizable`, count, async (n) => {
      await db.get('t', key(n));
    });
  }
  await measure(`${name} get stale`, 64, async (n) => {
    await db.get('t', key(n), { consistency: 'stale' });
  });
}

await disk();
for (const size of [1, 3]) {
  const cluster = await TestCluster.start({ size, ...(size === 3 ? { driver: 'http2' as const } : {}) });
  const client = await cluster.client();
  await database(`${size} REST`, client, [1, 64]);
  await client.close();
  const [first] = cluster.servers.values();
  if (first !== undefined) await database(`${size} in process`, first.database(), [1, 64]);
  await cluster.close();
}
