import { Socket, type Server } from 'node:net';
import type { ListenAddress, PathQuality } from './path.ts';

/** Of one connection, in one direction. */
const heldBytes = 4 * 1024 * 1024;
const maxConnections = 1000;

/** Passes TCP connections on, each piece a while after it came and in the order it came. */
export class SlowConnections {
  readonly #options: PathQuality;
  readonly #servers = new Set<Server>();
  readonly #sockets = new Set<Socket>();

  constructor(options: PathQuality) {
    this.#options = options;
  }

  /** Takes the server over; what it accepts goes on to the same address, from here. */
  listen(server: Server, address: ListenAddress): void {
    this.#servers.add(server);
    server.maxConnections = maxConnections;
    server.on('connection', (client) => this.#pass(client, address));
  }

  close(): void {
    for (const server of this.#servers) server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #pass(client: Socket, address: ListenAddress): void {
    const { from, forthMs, backMs } = this.#options;
    client.allowHalfOpen = true;
    const server = new Socket({ allowHalfOpen: true });
    const [forth, back] = [new OrderedDelay(forthMs), new OrderedDelay(backMs)];
    for (const [socket, other, way] of [
      [client, server, forth],
      [server, client, back],
    ] as const) {
      socket.setNoDelay(true);
      this.#sockets.add(socket);
      // Whatever it was, 'close' follows.
      socket.on('error', () => undefined);
      socket.on('close', (hadError) => {
        this.#sockets.delete(socket);
        if (hadError) way.push(() => other.resetAndDestroy());
      });
    }
    forth.push(() => {
      if (client.destroyed) {
        server.destroy();
        return;
      }
      server.connect({ ...address, localAddress: from });
      carry(server, client, back);
    });
    carry(client, server, forth);
  }
}

function carry(from: Socket, to: Socket, way: OrderedDelay): void {
  let held = 0;
  from.on('data', (piece: Buffer) => {
    held += piece.length;
    if (held > heldBytes) from.pause();
    way.push(() => {
      to.write(piece, () => {
        held -= piece.length;
        if (held <= heldBytes) from.resume();
      });
    });
  });
  from.on('end', () => way.push(() => to.end()));
}

/** Does one thing after the other, each a while after it was told, never before the ones told earlier. */
class OrderedDelay {
  readonly #drawMs: () => number;
  readonly #waiting: { readonly dueMs: number; readonly run: () => void }[] = [];
  #lastMs = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(drawMs: () => number) {
    this.#drawMs = drawMs;
  }

  push(run: () => void): void {
    this.#lastMs = Math.max(this.#lastMs, performance.now() + this.#drawMs());
    this.#waiting.push({ dueMs: this.#lastMs, run });
    this.#arm();
  }

  #arm(): void {
    const [first] = this.#waiting;
    if (first === undefined || this.#timer !== undefined) return;
    this.#timer = setTimeout(() => this.#work(), Math.max(0, first.dueMs - performance.now()));
  }

  #work(): void {
    this.#timer = undefined;
    // A timer may be a fraction of a millisecond early.
    while (this.#waiting[0] !== undefined && this.#waiting[0].dueMs <= performance.now()) {
      this.#waiting.shift()?.run();
    }
    this.#arm();
  }
}
