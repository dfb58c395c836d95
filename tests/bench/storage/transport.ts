import { type ChildProcess, fork } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { source } from '../../../transport/bench/handlers.ts';
import { type DialedPeer, dialPeer } from '../../../transport/peer.ts';
import { TestAuthority } from '../../../transport/testing/certificates.ts';
import { bestOf, callsPerSecond, gigabytesPerSecond, type Measured } from './target.ts';

const bulkBytes = 256 * 1024 * 1024;
const tls = new TestAuthority().issue('node-1.bench.s3d');
const secret = randomBytes(32);
const host = '127.0.0.1';

interface Remote {
  readonly port: number;
  stop(): Promise<void>;
}

/** HTTP/3 between two processes, against plain TLS over TCP between the same two. */
export async function measureTransport(rounds: number): Promise<Measured[]> {
  const directory = await mkdtemp(join(tmpdir(), 's3d-bench-'));
  const file = join(directory, 'bench.json');
  await writeFile(file, JSON.stringify({ tls, secret: secret.toString('hex') }), { mode: 0o600 });
  const [plain, quic] = await Promise.all([startServer('tls', file), startServer('http3', file)]);
  const peer = dialPeer({
    driver: 'http3',
    host,
    port: quic.port,
    peer: 'node-1',
    self: 'gateway-1',
    clusterId: 'bench',
    secret,
    tls: { ca: tls.ca },
  });
  try {
    await peer.connected(5000);
    const header = Buffer.alloc(64, 1);
    const best = await bestOf(rounds, {
      tls: () => plainUpload(plain.port),
      up: () => bulk(peer, 'sink'),
      down: () => bulk(peer, 'source'),
      small: () =>
        callsPerSecond({ inFlight: 64, durationMs: 1000 }, () =>
          peer.call('ping', { header }, { deadlineMs: 10_000 }),
        ),
    });
    const ratio = (name: string, rate: number): Measured => ({
      name,
      value: rate / best.tls,
      unit: 'x',
      target: 0.4,
      detail: `${(rate * 1000).toFixed(0)} and ${(best.tls * 1000).toFixed(0)} MB/s`,
    });
    return [
      ratio('http3 bulk up against TLS over TCP', best.up),
      ratio('http3 bulk down against TLS over TCP', best.down),
      { name: 'http3 small round trips, 64 in flight', value: best.small, unit: '/s', target: 50_000 },
    ];
  } finally {
    await peer.close();
    await Promise.all([plain.stop(), quic.stop()]);
    await rm(directory, { recursive: true });
  }
}

async function startServer(driver: string, file: string): Promise<Remote> {
  const program = new URL('../../../transport/bench/server.ts', import.meta.url);
  const child: ChildProcess = fork(program, [driver, file]);
  const [{ port }] = (await once(child, 'message')) as [{ port: number }];
  return {
    port,
    stop: async () => {
      const exited = once(child, 'exit');
      child.disconnect();
      await exited;
    },
  };
}

async function plainUpload(port: number): Promise<number> {
  const socket = connect({ port, host, ca: tls.ca, servername: 'node-1.bench.s3d' });
  await once(socket, 'secureConnect');
  const rate = await gigabytesPerSecond(bulkBytes, async () => {
    for await (const chunk of source(bulkBytes)) if (!socket.write(chunk)) await once(socket, 'drain');
    socket.end();
    await once(socket, 'data');
  });
  socket.destroy();
  return rate;
}

async function bulk(peer: DialedPeer, method: 'sink' | 'source'): Promise<number> {
  return gigabytesPerSecond(bulkBytes, async () => {
    const request =
      method === 'sink' ? { body: source(bulkBytes) } : { header: Buffer.from(String(bulkBytes)) };
    const response = await peer.call(method, request, { deadlineMs: 60_000, lane: 'bulk' });
    let bytes = 0;
    for await (const chunk of response.body) bytes += chunk.length;
    if (method === 'sink') bytes = Number(Buffer.from(response.header).toString());
    if (bytes !== bulkBytes) throw new Error(`${bytes} bytes instead of ${bulkBytes}`);
  });
}
