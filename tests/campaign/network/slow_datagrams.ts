import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import type { ListenAddress, PathQuality } from './path.ts';

/** On their way through one proxy: what comes on top gets lost, as in a router's queue. */
const maxDatagrams = 4000;
const maxCallers = 500;

/** Passes datagrams on, each a while after it came: a later one may be faster. Some get lost. */
export class SlowDatagrams {
  readonly #options: PathQuality;
  readonly #sockets = new Set<Socket>();
  #onTheirWay = 0;
  #callers = 0;
  #closed = false;

  constructor(options: PathQuality) {
    this.#options = options;
  }

  /** Takes the socket over; what comes there goes on to the same address, from a port of its own for each caller. */
  listen(socket: Socket, address: ListenAddress): void {
    const { from, forthMs, backMs } = this.#options;
    this.#add(socket);
    const callers = new Map<string, Socket>();
    socket.on('message', (datagram, caller) => {
      const name = `${caller.address}:${caller.port}`;
      let towards = callers.get(name);
      if (towards === undefined) {
        if (this.#callers === maxCallers) return;
        this.#callers += 1;
        towards = createSocket('udp4');
        this.#add(towards);
        towards.bind(0, from);
        towards.on('message', (answer) => this.#send(socket, answer, { to: caller, afterMs: backMs() }));
        callers.set(name, towards);
      }
      this.#send(towards, datagram, {
        to: { address: address.host, port: address.port },
        afterMs: forthMs(),
      });
    });
  }

  close(): void {
    this.#closed = true;
    for (const socket of this.#sockets) socket.close();
    this.#sockets.clear();
  }

  #add(socket: Socket): void {
    this.#sockets.add(socket);
    // The other end is gone: those who wait for its datagrams notice by themselves.
    socket.on('error', () => undefined);
  }

  #send(
    through: Socket,
    datagram: Buffer,
    options: { readonly to: Pick<RemoteInfo, 'address' | 'port'>; readonly afterMs: number },
  ): void {
    if (this.#onTheirWay === maxDatagrams || this.#options.isLost()) return;
    this.#onTheirWay += 1;
    setTimeout(() => {
      this.#onTheirWay -= 1;
      // With a callback a failure is no event; like one that was lost on its way.
      if (!this.#closed) through.send(datagram, options.to.port, options.to.address, () => undefined);
    }, options.afterMs);
  }
}
