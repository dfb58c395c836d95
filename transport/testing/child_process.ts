/**
 * A process of its own for tests that need one. Arguments: what to do, and a JSON file with host, port and keys.
 *
 * - `serve`: a server with `echo` that runs until its parent goes; it sends its port.
 * - `visit`: a server and a peer that call each other, then close; the process must then end by itself.
 */
import { Buffer } from 'node:buffer';
import { readFileSync } from 'node:fs';
import type { ServerTls } from '../driver.ts';
import type { DriverName } from '../drivers/select.ts';
import { dialPeer } from '../peer.ts';
import { type ReloadableServer, listenTransport } from '../server.ts';

interface ChildOptions {
  readonly driver: DriverName;
  readonly port: number;
  readonly clusterId: string;
  readonly secret: string;
  readonly tls: ServerTls;
}

const [action = '', file = ''] = process.argv.slice(2);
const options = JSON.parse(readFileSync(file, 'utf8')) as ChildOptions;
const secret = Buffer.from(options.secret, 'hex');

function listen(): Promise<ReloadableServer> {
  return listenTransport({
    driver: options.driver,
    host: '127.0.0.1',
    port: options.port,
    self: 'node-1',
    clusterId: options.clusterId,
    secret,
    tls: options.tls,
    handlers: { calls: { echo: (call) => Promise.resolve({ header: call.header, body: call.body }) } },
  });
}

async function visit(): Promise<void> {
  const server = await listen();
  const peer = dialPeer({
    driver: options.driver,
    host: '127.0.0.1',
    port: server.port,
    peer: 'node-1',
    self: 'gateway-1',
    clusterId: options.clusterId,
    secret,
    tls: options.tls,
  });
  const response = await peer.call('echo', { header: Buffer.from('hello') }, { deadlineMs: 10_000 });
  process.stdout.write(Buffer.from(response.header).toString());
  await peer.close();
  await server.close();
}

async function serve(): Promise<void> {
  const server = await listen();
  process.on('disconnect', () => process.exit(0));
  process.send?.({ port: server.port });
}

await (action === 'serve' ? serve() : visit());
