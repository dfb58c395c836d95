/**
 * The metadata database with many keys: `node tests/bench/database_keys.ts [--keys 10000000]`. Fills three replicas, then
 * measures pages of 1,000 keys and of 1,000 common prefixes at positions all over the table, how long a replica with so much
 * state takes to start, and how long an empty one takes to join and be filled by a snapshot.
 */
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import type { Database } from '../../s3db/database.ts';
import { ReplicaSet } from '../campaign/database/replica_set.ts';
import { loopbackNetwork } from '../campaign/network.ts';
import { Random } from '../sim/random.ts';

const { values } = parseArgs({ options: { keys: { type: 'string', default: '10000000' } } });
const keys = Number(values.keys);
/** Keys under one common prefix. */
const keysPerPrefix = 20;
const keysPerBatch = 10_000;
const batchesInFlight = 3;
const valueBytes = 160;
const table = 'keys';
const pageItems = 1000;
const pages = 40;
const warmPages = 10;
const barsMs = { keys: 50, prefixes: 150 };
const deadlineMs = 600_000;

const print = (line: string): void => {
  process.stdout.write(`${line}\n`);
};
const text = (bytes: string): Uint8Array => Buffer.from(bytes);
const directoryOf = (n: number): string =>
  `bucket/dir-${String(Math.floor(n / keysPerPrefix)).padStart(8, '0')}/`;
const keyOf = (n: number): Uint8Array =>
  text(`${directoryOf(n)}file-${String(n % keysPerPrefix).padStart(4, '0')}`);

async function timed(run: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now();
  await run();
  return performance.now() - startMs;
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}

async function fill(database: Database): Promise<void> {
  let next = 0;
  const value = new Uint8Array(valueBytes).fill(7);
  const work = async (): Promise<void> => {
    while (next < keys) {
      const from = next;
      next += keysPerBatch;
      const count = Math.min(keysPerBatch, keys - from);
      const operations = Array.from(
        { length: count },
        (_, i) => ({ type: 'put', table, key: keyOf(from + i), value }) as const,
      );
      await database.batch({ conditions: [], operations }, { deadlineMs });
      if (next % (keys / 10) === 0) print(`  ${next} keys`);
    }
  };
  await Promise.all(Array.from({ length: batchesInFlight }, work));
}

/** Pages at the beginning, at the end and in between. The first ones, which meet code that isn't compiled yet, don't count. */
async function measurePages(database: Database, kind: 'keys' | 'prefixes'): Promise<void> {
  const random = new Random(1);
  const times: number[] = [];
  for (let i = -warmPages; i < pages; i++) {
    const last = Math.max(0, keys - pageItems * (kind === 'keys' ? 1 : keysPerPrefix) - keysPerPrefix);
    const at = i === 0 ? 0 : i === 1 ? last : random.below(last);
    const startAfter = kind === 'keys' ? keyOf(at) : text(directoryOf(at));
    const delimiter = kind === 'keys' ? {} : { delimiter: text('/') };
    const request = { table, prefix: text('bucket/'), startAfter, limit: pageItems, ...delimiter };
    const startMs = performance.now();
    const page = await database.scan(request, { deadlineMs });
    if (i >= 0) times.push(performance.now() - startMs);
    const found = kind === 'keys' ? page.items.length : page.prefixes.length;
    if (found !== pageItems)
      throw new Error(`a page of ${found} ${kind} behind ${Buffer.from(startAfter).toString()}`);
  }
  times.sort((a, b) => a - b);
  const [middle = 0, slowest = 0] = [times[pages >> 1], times.at(-1)];
  const bar = barsMs[kind];
  print(
    `a page of ${pageItems} ${kind === 'keys' ? 'keys' : 'common prefixes'}: p50 ${middle.toFixed(1)} ms, ` +
      `slowest of ${pages} ${slowest.toFixed(1)} ms; bar ${bar} ms at any position: ${slowest <= bar ? 'reached' : 'MISSED'}`,
  );
}

/** Until it follows a leader and has applied what is committed, as a voter. */
async function caughtUp(set: ReplicaSet, id: number): Promise<void> {
  const untilMs = performance.now() + 3_600_000;
  while (performance.now() < untilMs) {
    const leader = await set.leader();
    const [status, leading] = await Promise.all([
      set.status(id),
      leader === undefined ? undefined : set.status(leader),
    ]);
    const isVoter = leading?.voters.includes(id) === true && status?.voters.includes(id) === true;
    if (isVoter && status.leader_id !== null && status.applied_index >= leading.commit_index) return;
    await sleep(20);
  }
  throw new Error(`db ${id} did not catch up`);
}

async function bytesUnder(path: string): Promise<number> {
  let bytes = 0;
  for (const entry of await readdir(path, { withFileTypes: true, recursive: true })) {
    if (entry.isFile()) bytes += (await stat(join(entry.parentPath, entry.name))).size;
  }
  return bytes;
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));
const directory = await mkdtemp(join(tmpdir(), 's3d-bench-keys-'));
const set = await ReplicaSet.start({
  size: 3,
  network: loopbackNetwork('benches need none'),
  directory,
  logDirectory: directory,
  driver: 'http2',
});
try {
  const database = set.laneClient();
  await database.get(table, keyOf(0), { deadlineMs });
  print(`filling three replicas with ${keys} keys of ${keyOf(0).length} bytes, values of ${valueBytes}`);
  const fillMs = await timed(() => fill(database));
  print(`filled in ${seconds(fillMs)}, ${Math.round((keys * 1000) / fillMs)} keys a second`);
  for (const id of set.ids) await caughtUp(set, id);
  await measurePages(database, 'keys');
  await measurePages(database, 'prefixes');
  const leader = await set.leader();
  const follower = set.ids.find((id) => id !== leader) ?? 1;
  await caughtUp(set, follower);
  const mib = (await bytesUnder(set.directoryOf(follower))) / 2 ** 20;
  print(`a replica's directory holds ${Math.round(mib)} MiB`);
  await set.stop(follower, 'SIGTERM');
  const startMs = await timed(async () => {
    await set.startReplica(follower);
    await caughtUp(set, follower);
  });
  print(`a replica starts and is up to date in ${seconds(startMs)}`);
  await set.stop(follower, 'SIGKILL');
  await set.wipe(follower);
  const joinMs = await timed(async () => {
    await set.startReplica(follower);
    await caughtUp(set, follower);
  });
  print(`an empty replica joins, gets a snapshot and is a voter in ${seconds(joinMs)}`);
} finally {
  await set.close();
  await rm(directory, { recursive: true });
}
