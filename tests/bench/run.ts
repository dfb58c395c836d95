/**
 * `make bench`: throughput, latency and memory of a cluster of five shard and three database processes over QUIC, and
 * of everything in one process, beside what this machine can do at best in the same run. Ratios are what counts.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Cluster } from '../cluster/cluster.ts';
import { ServerProcess } from '../cluster/server_process.ts';
import { writeTestConfig } from '../cluster/test_config.ts';
import { drive, type Result, type Target } from './load.ts';
import { peakMemoryMiB } from './process_memory.ts';
import { type BareFiles, startBareServer } from './bare_process.ts';
import { measureLimits, type Limits } from './limits.ts';

const MiB = 1 << 20;
const durationMs = Number(process.env['BENCH_MS'] ?? 8000);
const warmUpMs = Number(process.env['BENCH_WARM_UP_MS'] ?? 12_000);
const print = (line: string): void => void process.stdout.write(`${line}\n`);

interface Row {
  readonly name: string;
  readonly result: Result;
}

async function benchmark(target: Target): Promise<Row[]> {
  await drive(target, { method: 'PUT', path: () => '/bench', inFlight: 1, durationMs, maxRequests: 1 });
  const large = { inFlight: 8, durationMs, maxRequests: 2000 };
  const small = { inFlight: 32, durationMs, maxRequests: 50_000 };
  const rows: Row[] = [];
  const measure = async (name: string, load: Parameters<typeof drive>[1]): Promise<Result> => {
    const result = await drive(target, load);
    rows.push({ name, result });
    print(describe(name, result));
    return result;
  };
  // Connections open and V8 optimises what is hot; with eight processes on few cores that takes its time. Not counted.
  const warm = { durationMs: warmUpMs, maxRequests: 20_000 };
  await drive(target, {
    method: 'PUT',
    path: (i) => `/bench/warm/${i}`,
    bodyBytes: 4 * MiB,
    inFlight: 8,
    ...warm,
  });
  await drive(target, { method: 'GET', path: (i) => `/bench/warm/${i % 20}`, inFlight: 8, ...warm });
  await drive(target, {
    method: 'PUT',
    path: (i) => `/bench/warm-small/${i}`,
    bodyBytes: 4096,
    inFlight: 32,
    ...warm,
  });
  const putLarge = await measure('PUT 4 MiB x 8', {
    method: 'PUT',
    path: (i) => `/bench/large/${i}`,
    bodyBytes: 4 * MiB,
    ...large,
  });
  await measure('GET 4 MiB x 8', {
    method: 'GET',
    path: (i) => `/bench/large/${i % putLarge.requests}`,
    ...large,
  });
  const putSmall = await measure('PUT 4 KiB x 32', {
    method: 'PUT',
    path: (i) => `/bench/small/${i}`,
    bodyBytes: 4096,
    ...small,
  });
  await measure('GET 4 KiB x 32', {
    method: 'GET',
    path: (i) => `/bench/small/${i % putSmall.requests}`,
    ...small,
  });
  await measure('HEAD x 32', {
    method: 'HEAD',
    path: (i) => `/bench/small/${i % putSmall.requests}`,
    ...small,
  });
  await measure('list 1,000 x 8', {
    method: 'GET',
    path: () => '/bench?list-type=2&prefix=small/',
    inFlight: 8,
    durationMs,
    maxRequests: 2000,
  });
  return rows;
}

function describe(name: string, result: Result): string {
  const perSecond = result.requests / result.seconds;
  const mibs = result.bytes / MiB / result.seconds;
  const failed = result.failed === 0 ? '' : `  ${result.failed} FAILED`;
  return `  ${name.padEnd(16)} ${perSecond.toFixed(0).padStart(7)}/s ${mibs.toFixed(1).padStart(8)} MiB/s   p50 ${result.p50Ms.toFixed(1)} ms   p99 ${result.p99Ms.toFixed(1)} ms${failed}`;
}

async function benchBareServer(files: BareFiles, ca: Buffer): Promise<Row[]> {
  const server = await startBareServer(files);
  try {
    const target = { urls: [server.url], ca };
    print('\nA bare Node HTTPS server (MD5, nothing stored)');
    const rows: Row[] = [];
    for (const [name, method, size, inFlight] of [
      ['PUT 4 MiB x 8', 'PUT', 4 * MiB, 8],
      ['GET 4 MiB x 8', 'GET', 4 * MiB, 8],
      ['PUT 4 KiB x 32', 'PUT', 4096, 32],
      ['GET 4 KiB x 32', 'GET', 4096, 32],
      ['HEAD x 32', 'HEAD', 0, 32],
    ] as const) {
      const body = method === 'PUT' ? { bodyBytes: size } : {};
      const result = await drive(target, {
        method,
        path: () => `/?size=${size}`,
        ...body,
        inFlight,
        durationMs: durationMs / 2,
        maxRequests: 50_000,
      });
      rows.push({ name, result });
      print(describe(name, result));
    }
    return rows;
  } finally {
    await server.kill('SIGKILL');
  }
}

function printRatios(title: string, rows: readonly Row[], bare: readonly Row[], limits: Limits): void {
  print(`\n${title}: ratios in this run`);
  for (const row of rows) {
    const peer = bare.find((entry) => entry.name === row.name);
    if (peer === undefined) continue;
    const ratio = row.result.requests / row.result.seconds / (peer.result.requests / peer.result.seconds);
    print(`  ${row.name.padEnd(16)} ${ratio.toFixed(3)} of the bare server`);
  }
  const put = rows.find((row) => row.name === 'PUT 4 MiB x 8');
  if (put === undefined) return;
  const mibs = put.result.bytes / MiB / put.result.seconds;
  print(
    `  PUT 4 MiB        ${(mibs / (limits.syncedWriteMiBs / (5 / 3))).toFixed(2)} of (synced 1 MiB writes / 1.67)`,
  );
}

async function benchProcesses(): Promise<{ rows: Row[]; bare: Row[]; limits: Limits }> {
  const config = await writeTestConfig({ nodes: 5, databases: 3 });
  const cluster = await Cluster.start(config.file);
  try {
    const limits = await measureLimits(config.directory);
    print('This machine');
    print(`  fdatasync of 4 KiB   ${limits.fdatasyncPerSecond.toFixed(0)}/s`);
    print(`  synced 1 MiB writes  ${limits.syncedWriteMiBs.toFixed(0)} MiB/s`);
    print(`  sequential writes    ${limits.sequentialWriteMiBs.toFixed(0)} MiB/s`);
    print(`  MD5                  ${limits.md5MiBs.toFixed(0)} MiB/s`);
    const ca = await readFile(cluster.caFile);
    const certs = join(config.basePath, 'certs');
    const bare = await benchBareServer(
      {
        cert: join(certs, '127.0.0.1.pem'),
        key: join(certs, '127.0.0.1.key'),
        log: join(config.directory, 'bare.log'),
      },
      ca,
    );
    print('\nFive shard processes and three database processes, QUIC, RS(3,2)');
    const urls = [...cluster.nodes.values()].map((server) => server.url);
    const rows = await benchmark({ urls, ca });
    for (const server of [...cluster.nodes.values(), ...cluster.databases.values()]) {
      print(`  peak memory of ${server.name}: ${(await peakMemoryMiB(server.pid)).toFixed(0)} MiB`);
    }
    return { rows, bare, limits };
  } finally {
    await cluster.stop('SIGTERM');
    await config.remove();
  }
}

async function benchOneProcess(): Promise<Row[]> {
  const config = await writeTestConfig({ nodes: 5, databases: 1 });
  const server = await ServerProcess.start({
    name: 'one process',
    args: ['-backend', 'distributed', '-config', config.file],
    logFile: join(config.directory, 'server.log'),
  });
  try {
    print('\nEverything in one process, RS(3,2)');
    const rows = await benchmark({
      urls: [server.url],
      ca: await readFile(join(config.basePath, 'certs', 'ca.pem')),
    });
    print(`  peak memory: ${(await peakMemoryMiB(server.pid)).toFixed(0)} MiB`);
    return rows;
  } finally {
    await server.kill('SIGTERM');
    await config.remove();
  }
}

const processes = await benchProcesses();
const single = await benchOneProcess();
printRatios('Eight processes', processes.rows, processes.bare, processes.limits);
printRatios('One process', single, processes.bare, processes.limits);
