/**
 * Measures the drivers, each against TLS over TCP in the same run (absolute numbers say little on a shared machine):
 *
 *     node transport/bench/bench.ts [pipe] [http2] [http3]
 *
 * Bulk: MB/s one way, up and down, 1 and 8 requests at once. Small: round trips a second at 1, 16 and 64 in flight.
 * Memory: the peak of the resident set on both sides, in MB. pipe runs in one process, the others in two.
 */
import { Buffer } from 'node:buffer';
import { type ChildProcess, fork } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect as connectTcp } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import type { Driver, ServerTls } from '../driver.ts';
import { PipeNetwork } from '../drivers/pipe.ts';
import { type DriverName, selectDriver } from '../drivers/select.ts';
import { type DialedPeer, dialPeer } from '../peer.ts';
import { listenTransport } from '../server.ts';
import { TestAuthority } from '../testing/certificates.ts';
import { benchHandlers, source } from './handlers.ts';

const mb = 1e6;
const bulkBytes = 768 * 1024 * 1024;
const secret = randomBytes(32);
const tls = new TestAuthority().issue('node-1.bench.s3d');

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

interface Remote {
  readonly port: number;
  /** Peak of its resident set since it was last asked. */
  peakBytes(): Promise<number>;
  stop(): Promise<void>;
}

async function startServer(driver: string, file: string): Promise<Remote> {
  const child: ChildProcess = fork(new URL('server.ts', import.meta.url), [driver, file]);
  const [{ port }] = (await once(child, 'message')) as [{ port: number }];
  return {
    port,
    peakBytes: async () => {
      child.send('peak');
      const [{ peakBytes }] = (await once(child, 'message')) as [{ peakBytes: number }];
      return peakBytes;
    },
    stop: async () => {
      const exited = once(child, 'exit');
      child.disconnect();
      await exited;
    },
  };
}

/** MB/s of a plain socket, as everything else is compared with. */
async function plain(kind: 'tls' | 'tcp', file: string): Promise<number> {
  const server = await startServer(kind, file);
  const socket =
    kind === 'tls'
      ? connectTls({ port: server.port, host: '127.0.0.1', ca: tls.ca, servername: 'node-1.bench.s3d' })
      : connectTcp({ port: server.port, host: '127.0.0.1' });
  await once(socket, kind === 'tls' ? 'secureConnect' : 'connect');
  const start = performance.now();
  for await (const chunk of source(bulkBytes)) {
    if (!socket.write(chunk)) await once(socket, 'drain');
  }
  socket.end();
  await once(socket, 'data');
  const rate = bulkBytes / mb / ((performance.now() - start) / 1000);
  socket.destroy();
  await server.stop();
  return rate;
}

async function bulk(peer: DialedPeer, options: { readonly method: string; readonly inFlight: number }) {
  const { method, inFlight } = options;
  const each = bulkBytes / inFlight;
  const start = performance.now();
  await Promise.all(
    Array.from({ length: inFlight }, async () => {
      const request = method === 'sink' ? { body: source(each) } : { header: Buffer.from(String(each)) };
      const response = await peer.call(method, request, { deadlineMs: 60_000, lane: 'bulk' });
      let bytes = 0;
      for await (const chunk of response.body) bytes += chunk.length;
      if (method === 'sink') bytes = Number(Buffer.from(response.header).toString());
      if (bytes !== each) throw new Error(`${bytes} bytes instead of ${each}`);
    }),
  );
  return bulkBytes / mb / ((performance.now() - start) / 1000);
}

/** Round trips a second. */
async function small(peer: DialedPeer, inFlight: number): Promise<number> {
  const header = Buffer.alloc(64, 1);
  const endMs = performance.now() + 2000;
  const start = performance.now();
  let done = 0;
  await Promise.all(
    Array.from({ length: inFlight }, async () => {
      while (performance.now() < endMs) {
        await peer.call('ping', { header }, { deadlineMs: 10_000 });
        done++;
      }
    }),
  );
  return done / ((performance.now() - start) / 1000);
}

async function measure(
  driver: Driver | DriverName,
  options: { readonly port: number; readonly tlsRate: number },
) {
  const peer = dialPeer({
    driver,
    host: '127.0.0.1',
    port: options.port,
    peer: 'node-1',
    self: 'gateway-1',
    clusterId: 'bench',
    secret,
    tls: { ca: tls.ca },
  });
  await peer.connected(5000);
  let peak = 0;
  const timer = setInterval(() => (peak = Math.max(peak, process.memoryUsage.rss())), 20);
  for (const method of ['sink', 'source']) {
    for (const inFlight of [1, 8]) {
      const rate = await bulk(peer, { method, inFlight });
      const ratio = (rate / options.tlsRate).toFixed(2);
      print(
        `  ${method === 'sink' ? 'up  ' : 'down'} ${inFlight} at once: ${rate.toFixed(0)} MB/s, ${ratio} x TLS`,
      );
    }
  }
  for (const inFlight of [1, 16, 64]) {
    print(`  small, ${inFlight} in flight: ${(await small(peer, inFlight)).toFixed(0)}/s`);
  }
  clearInterval(timer);
  print(`  memory here: ${(peak / mb).toFixed(0)} MB`);
  await peer.close();
}

async function main(): Promise<void> {
  const wanted = process.argv.slice(2);
  const chosen = wanted.length > 0 ? wanted : ['pipe', 'http2', 'http3'];
  const directory = await mkdtemp(join(tmpdir(), 's3d-bench-'));
  const file = join(directory, 'bench.json');
  try {
    await writeFile(file, JSON.stringify({ tls, secret: secret.toString('hex') }), { mode: 0o600 });
    print(`TCP: ${(await plain('tcp', file)).toFixed(0)} MB/s`);
    const tlsRate = await plain('tls', file);
    print(`TLS over TCP: ${tlsRate.toFixed(0)} MB/s`);
    for (const name of chosen) {
      print(name);
      if (name === 'pipe') await measurePipe(tls, tlsRate);
      else await measureRemote(name, { file, tlsRate });
    }
  } finally {
    await rm(directory, { recursive: true });
  }
}

async function measurePipe(serverTls: ServerTls, tlsRate: number): Promise<void> {
  const { driver } = new PipeNetwork();
  const server = await listenTransport({
    driver,
    host: '127.0.0.1',
    port: 0,
    self: 'node-1',
    clusterId: 'bench',
    secret,
    tls: serverTls,
    handlers: benchHandlers,
  });
  await measure(driver, { port: server.port, tlsRate });
  await server.close();
}

async function measureRemote(name: string, options: { readonly file: string; readonly tlsRate: number }) {
  const server = await startServer(name, options.file);
  await measure(selectDriver(name as DriverName), { port: server.port, tlsRate: options.tlsRate });
  print(`  memory there: ${((await server.peakBytes()) / mb).toFixed(0)} MB`);
  await server.stop();
}

await main();
