/**
 * Run in a network namespace by `slow_path.ts`: listens at the addresses it is given, over TCP and UDP, hands the sockets
 * to the process that started it, and ends. A socket stays in the namespace it was made in.
 */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { ListenAddress } from './path.ts';

const addresses = JSON.parse(process.argv[2] ?? '[]') as ListenAddress[];
for (const { host, port } of addresses) {
  const server = createServer();
  server.listen({ host, port });
  await once(server, 'listening');
  await handOver({ host, port }, server);
  server.close();
  const socket = createSocket('udp4');
  socket.bind(port, host);
  await once(socket, 'listening');
  await handOver({ host, port }, socket);
  socket.close();
}
process.disconnect?.();

function handOver(
  address: ListenAddress,
  handle: ReturnType<typeof createServer> | ReturnType<typeof createSocket>,
): Promise<void> {
  return new Promise((resolve, reject) => {
    process.send?.(address, handle, {}, (error) => (error === null ? resolve() : reject(error)));
  });
}
