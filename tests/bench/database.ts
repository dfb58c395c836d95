/**
 * The metadata database beside etcd: `node tests/bench/database.ts [--seconds 3] [--rounds 3] [--only 'put 1 '] [--driver auto]`.
 * Three processes of each on this machine, both with TLS, real fdatasync, 256-byte values and 32-byte keys. Turns are short and interleaved, so
 * that what else the machine does meets both alike; the ratios are what counts. All clients ask the leader. s3db is measured
 * through the client that gateways use (lanes of the transport, from this process) and through REST (TLS and SigV4, a
 * connection a client). The load on REST and on etcd (at most 16 connections of its own client) comes from one program in Go, so
 * that the generator is not what is compared; without `go` that on REST comes from this process. What REST can reach at
 * most is measured beside them: a bare HTTPS server that is called in the same way and does nothing.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { Database } from '../../s3db/database.ts';
import { ReplicaSet } from '../campaign/database/replica_set.ts';
import { loopbackNetwork } from '../campaign/network.ts';
import { BareRest } from './bare_rest.ts';
import { EtcdCluster } from './etcd.ts';
import { measureLimits } from './limits.ts';
import { LoadGenerator, type Operation } from './load_generator.ts';
import { measure, median, type Measured } from './measured.ts';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '3' },
    rounds: { type: 'string', default: '3' },
    only: { type: 'string', default: '' },
    driver: { type: 'string', default: 'auto' },
  },
});
const seconds = Number(values.seconds);
const print = (line: string): void => void process.stdout.write(`${line}\n`);
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));
const directory = await mkdtemp(join(tmpdir(), 's3d-bench-db-'));

/** Something to be measured. */
interface Subject {
  readonly name: string;
  measure(
    operation: Operation,
    load: { readonly clients: number; readonly seconds: number },
  ): Promise<Measured>;
  /** Of its leader's log, since the start; NaN when it doesn't say. */
  fdatasyncs(): Promise<number>;
  readonly pids: () => readonly number[];
}

const restName = 's3db REST';
const bareName = 'bare HTTPS';
const table = 'bench';
/** As many connections to REST, since HTTP/1.1 carries one call at a time. */
const mostClients = 256;
const keys = 5000;
const value = new Uint8Array(256).fill(7);
/** The machine may be busy; what is late counts as late, not as failed. */
const deadlineMs = 60_000;
const keyOf = (n: number): Uint8Array => Buffer.from(`key-${String(n % keys).padStart(28, '0')}`);

function s3db(name: string, set: ReplicaSet, measure: Subject['measure']): Subject {
  return {
    name,
    measure,
    fdatasyncs: async () => {
      const leader = await set.leader();
      const status = leader === undefined ? undefined : await set.status(leader);
      return status?.log?.syncs ?? NaN;
    },
    pids: () => set.ids.flatMap((id) => set.pid(id) ?? []),
  };
}

/** Load from this process. */
function through(database: Database): Subject['measure'] {
  const calls: Record<Operation, (n: number) => Promise<unknown>> = {
    put: (n) =>
      database.batch(
        { conditions: [], operations: [{ type: 'put', table, key: keyOf(n), value }] },
        { deadlineMs },
      ),
    get: (n) => database.get(table, keyOf(n), { deadlineMs }),
    stale: (n) => database.get(table, keyOf(n), { consistency: 'stale', deadlineMs }),
  };
  return (operation, load) =>
    measure(load, async (n) => {
      await calls[operation](n);
    });
}

/** Load from the generator on the replica that leads. */
function throughRest(set: ReplicaSet, generator: LoadGenerator): Subject['measure'] {
  return async (operation, load) => {
    const leader = await set.leader();
    if (leader === undefined) throw new Error('no replica leads');
    const { url, ca, serverName, region, accessKeyId, secretAccessKey } = set.restAccess(leader);
    const options = {
      'server-name': serverName,
      region,
      'access-key': accessKeyId,
      'secret-key': secretAccessKey,
    };
    return generator.measure({ target: 'rest', url, ca, options }, operation, load);
  };
}

/** What the processes have used of the CPU, in seconds. */
async function cpuSeconds(pids: readonly number[]): Promise<number> {
  const stats = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/stat`, 'utf8')));
  const ticks = stats.map((stat) => {
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return Number(fields[11]) + Number(fields[12]);
  });
  return ticks.reduce((sum, each) => sum + each, 0) / ticksPerSecond;
}

function driverOf(name: string): 'auto' | 'http3' | 'http2' {
  if (name === 'auto' || name === 'http3' || name === 'http2') return name;
  throw new Error(`--driver: must be auto, http3 or http2, but is ${name}`);
}

async function rssMiB(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1] ?? 0) / 1024;
}

const targets: readonly {
  readonly operation: Operation;
  readonly clients: number;
  readonly text: string;
  /** Of ours to etcd's. */
  readonly ratio: (ours: Measured, etcd: Measured) => number;
  readonly reached: (ratio: number) => boolean;
}[] = [
  {
    operation: 'put',
    clients: 1,
    text: 'p50 at most 1.5 of etcd',
    ratio: (ours, etcd) => ours.p50Ms / etcd.p50Ms,
    reached: (ratio) => ratio <= 1.5,
  },
  {
    operation: 'put',
    clients: 64,
    text: 'at least 0.5 of etcd',
    ratio: (ours, etcd) => ours.perSecond / etcd.perSecond,
    reached: (ratio) => ratio >= 0.5,
  },
  {
    operation: 'get',
    clients: 64,
    text: 'at least 0.5 of etcd',
    ratio: (ours, etcd) => ours.perSecond / etcd.perSecond,
    reached: (ratio) => ratio >= 0.5,
  },
];
const oneClientWarmUpSeconds = 20;
/** Linux's USER_HZ. */
const ticksPerSecond = 100;
const mostSyncsPerWrite = 0.1;

/**
 * Servers run for months: what a just-in-time compiler does in its first seconds isn't what is measured. One client alone
 * makes few calls a second, so that the code of its way needs more of them.
 */
async function warmUp(subjects: readonly Subject[]): Promise<void> {
  for (const subject of subjects) {
    for (const operation of ['put', 'get', 'stale'] as const) {
      await subject.measure(operation, { clients: 64, seconds });
    }
    await subject.measure('put', { clients: 1, seconds: oneClientWarmUpSeconds });
  }
}

async function compare(subjects: readonly Subject[]): Promise<void> {
  for (const [operation, clients] of [
    ['put', 1],
    ['put', 64],
    ['put', 256],
    ['get', 1],
    ['get', 64],
    ['get', 256],
    ['stale', 64],
  ] as const) {
    if (!`${operation} ${clients} `.includes(values.only)) continue;
    const runs = new Map<string, Measured[]>(subjects.map(({ name }) => [name, []]));
    const syncs = new Map<string, number>();
    const cpu = new Map<string, number>();
    for (let round = 0; round < Number(values.rounds); round++) {
      for (const subject of subjects) {
        const before = await subject.fdatasyncs();
        const cpuBefore = await cpuSeconds(subject.pids());
        const measured = await subject.measure(operation, { clients, seconds });
        runs.get(subject.name)?.push(measured);
        const used = (await cpuSeconds(subject.pids())) - cpuBefore;
        cpu.set(subject.name, (cpu.get(subject.name) ?? 0) + used);
        const more = (await subject.fdatasyncs()) - before;
        syncs.set(subject.name, (syncs.get(subject.name) ?? 0) + more);
      }
    }
    const medians = new Map([...runs].map(([name, list]) => [name, median(list)]));
    for (const [name, { calls, perSecond, p50Ms, p99Ms }] of medians) {
      const perWrite = (syncs.get(name) ?? NaN) / calls;
      const microseconds = Math.round(((cpu.get(name) ?? NaN) * 1e6) / calls);
      const disk =
        operation === 'put' && name !== bareName ? `  ${perWrite.toFixed(3)} fdatasyncs a write` : '';
      const tooMany =
        clients === 256 && perWrite > mostSyncsPerWrite && name !== 'etcd' ? '  MISSED (0.1)' : '';
      print(
        `${operation.padEnd(5)} ${String(clients).padStart(3)} clients  ${name.padEnd(10)} ${Math.round(perSecond).toString().padStart(7)}/s` +
          `  p50 ${p50Ms.toFixed(2).padStart(7)} ms  p99 ${p99Ms.toFixed(2).padStart(7)} ms  servers' CPU ${microseconds} us a call${disk}${tooMany}`,
      );
    }
    const etcd = medians.get('etcd');
    const target = targets.find((one) => one.operation === operation && one.clients === clients);
    for (const name of ['s3db lane', restName, bareName]) {
      const ours = medians.get(name);
      if (etcd === undefined || ours === undefined) continue;
      const rate = `${(ours.perSecond / etcd.perSecond).toFixed(2)} of etcd's rate, ${(ours.p50Ms / etcd.p50Ms).toFixed(2)} of its p50`;
      const verdict =
        target === undefined || name === bareName
          ? ''
          : `  target: ${target.text}: ${target.reached(target.ratio(ours, etcd)) ? 'reached' : 'MISSED'}`;
      print(`${' '.repeat(19)}${name}: ${rate}${verdict}`);
    }
  }
  for (const { name, pids } of subjects) {
    if (name === restName || name === bareName) continue;
    const memory = await Promise.all(pids().map(rssMiB));
    print(
      `memory ${name === 's3db lane' ? 's3db' : name}: ${memory.map((mib) => mib.toFixed(0)).join(', ')} MiB`,
    );
  }
}

const { fdatasyncPerSecond } = await measureLimits(directory);
print(
  `this disk: ${Math.round(fdatasyncPerSecond)} appends of 4 KiB with fdatasync a second, one after the other`,
);
const network = loopbackNetwork('benches need none');
const set = await ReplicaSet.start({
  size: 3,
  network,
  directory,
  logDirectory: directory,
  driver: driverOf(values.driver),
});
let etcd: EtcdCluster | undefined;
let bare: BareRest | undefined;
try {
  const lane = set.laneClient();
  await lane.get(table, keyOf(0), { deadlineMs: 60_000 });
  const generator = (await LoadGenerator.available()) ? await LoadGenerator.build(directory) : undefined;
  const onRest =
    generator === undefined ? through(await set.client(set.ids, mostClients)) : throughRest(set, generator);
  const subjects: Subject[] = [s3db('s3db lane', set, through(lane)), s3db(restName, set, onRest)];
  if (generator !== undefined) {
    const certs = join(directory, 'data', 'certs');
    const pair = {
      cert: join(certs, '127.0.0.1.pem'),
      key: join(certs, '127.0.0.1.key'),
      ca: join(certs, 'ca.pem'),
    };
    const nothing = await BareRest.start(generator, { ...pair, log: join(directory, 'bare.log') });
    bare = nothing;
    subjects.push({
      name: bareName,
      measure: (operation, load) => nothing.measure(operation, { ...load, bytes: value.length }),
      fdatasyncs: async () => NaN,
      pids: () => nothing.pids,
    });
    if (await EtcdCluster.available()) {
      const started = await EtcdCluster.start(generator, join(directory, 'etcd'), pair);
      etcd = started;
      subjects.push({
        name: 'etcd',
        measure: (operation, load) => started.measure(operation, load),
        fdatasyncs: () => started.fdatasyncs(),
        pids: () => started.pids,
      });
    }
  }
  if (etcd === undefined) print('etcd is not measured: it needs etcd and go (Debian: etcd-server, golang)');
  await warmUp(subjects);
  await compare(subjects);
} finally {
  await bare?.close();
  await etcd?.close();
  await set.close();
  await rm(directory, { recursive: true });
}
