/** The other process of `bench.ts`: a transport server and a plain TLS sink. Started by it, told by its arguments. */
import { Buffer } from 'node:buffer';
import { readFileSync } from 'node:fs';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import type { DriverName } from '../drivers/select.ts';
import { listenTransport } from '../server.ts';
import { benchHandlers } from './handlers.ts';

const [driver = '', file = ''] = process.argv.slice(2);
const { tls, secret } = JSON.parse(readFileSync(file, 'utf8')) as {
  tls: { cert: string; key: string; ca: string };
  secret: string;
};

async function main(): Promise<void> {
  if (driver === 'tls' || driver === 'tcp') {
    const onSocket = (socket: NodeJS.ReadWriteStream): void => {
      socket.on('error', () => undefined);
      socket.on('data', () => undefined);
      socket.on('end', () => socket.end('x'));
    };
    const options = { allowHalfOpen: true };
    const server =
      driver === 'tls'
        ? createTlsServer({ ...tls, minVersion: 'TLSv1.3', ...options }, onSocket)
        : createTcpServer(options, onSocket);
    server.listen(0, '127.0.0.1', () => report((server.address() as AddressInfo).port));
    process.on('disconnect', () => process.exit(0));
    return;
  }
  const server = await listenTransport({
    driver: driver as DriverName,
    host: '127.0.0.1',
    port: 0,
    self: 'node-1',
    clusterId: 'bench',
    secret: Buffer.from(secret, 'hex'),
    tls,
    handlers: benchHandlers,
  });
  report(server.port);
  process.on('disconnect', () => void server.close().then(() => process.exit(0)));
}

function report(port: number): void {
  let peakBytes = 0;
  setInterval(() => (peakBytes = Math.max(peakBytes, process.memoryUsage.rss())), 20).unref();
  process.on('message', () => {
    process.send?.({ peakBytes });
    peakBytes = 0;
  });
  process.send?.({ port });
}

await main();
