/**
 * `make bench-faults`: what failures cost. A cluster of five shard and three database processes; GET with two of five nodes
 * down beside GET with all up; how fast a wiped node is filled beside how fast objects are put, at full rate; what clients
 * notice of it at the usual rate; how much moves to a sixth node. BENCH_OBJECTS, BENCH_BYTES and BENCH_MS scale it.
 */
import { execFile } from 'node:child_process';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { get } from 'node:https';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Cluster } from '../cluster/cluster.ts';
import { ServerProcess } from '../cluster/server_process.ts';
import { testKeys, writeTestConfig } from '../cluster/test_config.ts';
import { drive, type Result, type Target } from './load.ts';

const run = promisify(execFile);
const binary = fileURLToPath(new URL('../../bin/s3d', import.meta.url));
const objects = Number(process.env['BENCH_OBJECTS'] ?? 400);
const objectBytes = Number(process.env['BENCH_BYTES'] ?? 1 << 20);
const durationMs = Number(process.env['BENCH_MS'] ?? 10_000);
const settleMs = 600_000;
const print = (line: string): void => void process.stdout.write(`${line}\n`);

const fast = await prepare('1000MiB/s');
await degradedReads(fast);
await wipedNode(fast);
await sixthNode(fast);
await fast.cluster.stop();
await fast.remove();
const usual = await prepare('50MiB/s');
await pacedRepair(usual);
await usual.cluster.stop();
await usual.remove();

interface Prepared {
  readonly cluster: Cluster;
  readonly target: Target;
  readonly configFile: string;
  readonly basePath: string;
  readonly port: number;
  /** Bytes a second. */
  readonly putRate: number;
  readonly remove: () => Promise<void>;
}

async function prepare(rate: string): Promise<Prepared> {
  const config = await writeTestConfig({
    nodes: 5,
    databases: 3,
    extra: `[repair]\nrate = "${rate}"\n[gc]\ndelay = "2s"\nepoch = "40s"`,
  });
  const cluster = await Cluster.start(config.file);
  // By id, not in the order in which they were ready: some of them are killed below.
  const urls = [...cluster.nodes].sort(([a], [b]) => a - b).map(([, server]) => server.url);
  const target = { urls, ca: await readFile(cluster.caFile) };
  await drive(target, { method: 'PUT', path: () => '/bench', inFlight: 1, durationMs, maxRequests: 1 });
  const warm = { bodyBytes: objectBytes, inFlight: 8, durationMs, maxRequests: 200 };
  await drive(target, { method: 'PUT', path: (i) => `/bench/${i}`, ...warm });
  const put = await drive(target, {
    method: 'PUT',
    path: (i) => `/bench/${i}`,
    bodyBytes: objectBytes,
    inFlight: 8,
    durationMs: 600_000,
    maxRequests: objects,
  });
  print(`repair rate ${rate}: PUT of ${objects} objects of ${objectBytes} bytes: ${show(put)}`);
  return {
    cluster,
    target,
    configFile: config.file,
    basePath: config.basePath,
    port: config.port,
    putRate: put.bytes / put.seconds,
    remove: () => config.remove(),
  };
}

function reads(prepared: Prepared, urls = prepared.target.urls): Promise<Result> {
  return drive(
    { ...prepared.target, urls },
    {
      method: 'GET',
      path: (i) => `/bench/${i % objects}`,
      inFlight: 8,
      durationMs,
      maxRequests: 1_000_000,
    },
  );
}

/** Through the same three gateways both times. */
async function degradedReads(prepared: Prepared): Promise<void> {
  const { cluster, target } = prepared;
  const urls = target.urls.slice(0, 3);
  await reads(prepared, urls);
  const healthy = await reads(prepared, urls);
  print(`GET, all nodes up: ${show(healthy)}`);
  for (const id of [3, 4]) await cluster.nodes.get(id)?.kill('SIGKILL');
  await sleep(7000);
  const degraded = await reads(prepared, urls);
  print(`GET, two of five nodes down: ${show(degraded)}`);
  const throughput = degraded.bytes / degraded.seconds / (healthy.bytes / healthy.seconds);
  judge('GET throughput with two nodes down', throughput, throughput >= 0.7, 'at least 0.7 of healthy');
  const p99 = degraded.p99Ms / healthy.p99Ms;
  judge('GET p99 with two nodes down', p99, p99 <= 3, 'at most 3 times healthy');
  judge('failed requests', degraded.failed + healthy.failed, degraded.failed + healthy.failed === 0, 'none');
  for (const id of [3, 4]) await cluster.startNode(id);
  await whole(prepared);
}

async function wipedNode(prepared: Prepared): Promise<void> {
  const { cluster, basePath, putRate } = prepared;
  await cluster.nodes.get(2)?.kill('SIGKILL');
  await rm(join(basePath, 'shards', 'node-2'), { recursive: true });
  await cluster.startNode(2);
  const startMs = performance.now();
  await filled(prepared, 2);
  const seconds = (performance.now() - startMs) / 1000;
  // Each object has one shard there, and rebuilding that takes as many bytes as the object has.
  const rate = (objects * objectBytes) / seconds;
  print(`a wiped node is whole after ${seconds.toFixed(1)} s: ${mib(rate)} of content`);
  judge('repair when idle', rate / putRate, rate / putRate >= 0.5, 'at least 0.5 of PUT');
  await whole(prepared);
}

async function pacedRepair(prepared: Prepared): Promise<void> {
  const { cluster, basePath } = prepared;
  await reads(prepared);
  const before = await reads(prepared);
  print(`GET, nothing to repair: ${show(before)}`);
  await cluster.nodes.get(2)?.kill('SIGKILL');
  await rm(join(basePath, 'shards', 'node-2'), { recursive: true });
  await cluster.startNode(2);
  await sleep(3000);
  const during = await reads(prepared);
  print(`GET during repair: ${show(during)}`);
  const p99 = during.p99Ms / before.p99Ms;
  judge('GET p99 during paced repair', p99, p99 <= 2, 'at most 2 times undisturbed');
  await filled(prepared, 2);
}

async function sixthNode(prepared: Prepared): Promise<void> {
  const { configFile, basePath, port } = prepared;
  const text = await readFile(configFile, 'utf8');
  const own = join(basePath, '..', 'sixth.toml');
  await writeFile(
    own,
    `${text}\n[[nodes]]\nid = 5\nhost = "127.0.0.1"\nport = ${port + 45}\npath = "shards/node-5/"\n`,
  );
  await run(binary, ['certs', '-config', own]);
  const sixth = await ServerProcess.start({
    name: 'node-5',
    args: ['-backend', 'distributed', '-config', own, '-node', '5', '-port', String(port + 5)],
    logFile: join(basePath, 'logs', 'node-5.log'),
  });
  const startMs = performance.now();
  await sleep(8000);
  await whole(prepared);
  const { nodes } = await status(prepared);
  const share = (nodes.find((node) => node.id === 5)?.shards ?? 0) / (objects * 5);
  print(`a sixth node has its shards after ${((performance.now() - startMs) / 1000).toFixed(1)} s`);
  judge('share of a sixth node', share, Math.abs(share - 1 / 6) <= 0.03, 'a sixth, give or take 0.03');
  await sixth.kill('SIGTERM');
}

interface Status {
  readonly nodes: readonly { readonly id: number; readonly shards: number | null }[];
  readonly repair: { readonly objects: number; readonly rebalance: { readonly active: boolean } };
}

/** What the admin listener of node 0 says. */
async function status(prepared: Prepared): Promise<Status> {
  return new Promise((resolve, reject) => {
    const outgoing = get(
      {
        host: '127.0.0.1',
        port: prepared.port + 1000,
        path: '/nodes',
        auth: `${testKeys.accessKeyId}:${testKeys.secretAccessKey}`,
        ca: prepared.target.ca,
        agent: false,
      },
      (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
        response.on('end', () => resolve(JSON.parse(text) as Status));
      },
    );
    outgoing.on('error', reject);
  });
}

/** Until the node has a shard of every object. */
async function filled(prepared: Prepared, id: number): Promise<void> {
  await until(prepared, ({ nodes }) => (nodes.find((node) => node.id === id)?.shards ?? 0) >= objects);
}

async function whole(prepared: Prepared): Promise<void> {
  await until(prepared, ({ repair }) => repair.objects === 0 && !repair.rebalance.active);
}

async function until(prepared: Prepared, holds: (status: Status) => boolean): Promise<void> {
  const endMs = performance.now() + settleMs;
  while (!holds(await status(prepared))) {
    if (performance.now() > endMs) throw new Error('the cluster did not settle');
    await sleep(200);
  }
}

function judge(what: string, figure: number, isMet: boolean, bar: string): void {
  print(`${isMet ? 'met' : 'MISSED'}: ${what}: ${figure.toFixed(3)} (${bar})`);
}

function show(result: Result): string {
  const { requests, seconds, p50Ms, p99Ms, failed } = result;
  return `${mib(result.bytes / seconds)}, ${(requests / seconds).toFixed(0)}/s, p50 ${p50Ms.toFixed(0)} ms, p99 ${p99Ms.toFixed(0)} ms, ${failed} failed`;
}

function mib(bytesPerSecond: number): string {
  return `${(bytesPerSecond / (1 << 20)).toFixed(1)} MiB/s`;
}
