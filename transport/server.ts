import { CreditBudget } from './body_reader.ts';
import type { ByteStream, Driver, Listener, ServerTls, StreamOrigin, TransportLogger } from './driver.ts';
import { type DriverName, selectDriver } from './drivers/select.ts';
import { TransportError, messageOf } from './errors.ts';
import { Lane } from './lane.ts';
import {
  closeGraceMs,
  maxLanes,
  maxLanesPerPeer,
  maxUnauthenticatedLanes,
  receiveBudgetBytes,
  serverSilenceMs,
} from './limits.ts';
import { pausedMs } from './pause.ts';
import { requireSecret } from './peer.ts';
import { requireLabel } from './peer_name.ts';
import { ServerLane } from './server_lane.ts';
import type { Handler, Handlers, PeerId, TransportServer } from './transport.ts';

export interface ListenOptions {
  readonly driver: DriverName | Driver;
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  readonly self: PeerId;
  readonly clusterId: string;
  /** The cluster's secret, at least 16 bytes. */
  readonly secret: Uint8Array;
  /** Required by all drivers but `pipe`. */
  readonly tls?: ServerTls;
  readonly handlers: Handlers | readonly Handlers[];
  readonly logger?: TransportLogger;
}

export interface ReloadableServer extends TransportServer {
  /** More methods. @throws TypeError for a name that is taken. */
  addHandlers(handlers: Handlers): void;
  /**
   * From now on new connections get this certificate. A pair that can't be served is refused and changes nothing.
   * With HTTP/3 every connection ends and comes back, since the library can't change it in place.
   * @throws TransportError `refused`
   */
  reloadCertificates(tls: ServerTls): Promise<void>;
}

/** Lets whoever proves to belong to the cluster call the handlers. Resolves once the port is bound. */
export async function listenTransport(options: ListenOptions): Promise<ReloadableServer> {
  requireLabel(options.self, 'self');
  requireLabel(options.clusterId, 'clusterId');
  requireSecret(options.secret);
  const server = new Server(options);
  await server.open();
  return server;
}

/** How often lanes are looked at for silence. */
const sweepMs = 1000;
/** How long a refused stream may take to tell the other side why, before its connection is dropped. */
const refusalMs = 500;

class Server implements ReloadableServer {
  readonly #options: ListenOptions;
  readonly #calls = new Map<string, Handler>();
  readonly #notices = new Map<string, (from: PeerId, payload: Uint8Array) => void>();
  readonly #lanes = new Set<ServerLane>();
  readonly #budget = new CreditBudget(receiveBudgetBytes);
  readonly #lanesOf = new Map<PeerId, number>();
  /** Streams that haven't proved anything, oldest first. */
  readonly #unauthenticated = new Map<ByteStream, StreamOrigin>();
  #listener: Listener | undefined;
  #timer: NodeJS.Timeout | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: ListenOptions) {
    this.#options = options;
    const { handlers } = options;
    for (const set of 'calls' in handlers ? [handlers] : handlers) this.addHandlers(set);
  }

  get host(): string {
    return this.#options.host;
  }

  get port(): number {
    return this.#listener?.port ?? this.#options.port;
  }

  async open(): Promise<void> {
    const { driver, host, port, tls, logger } = this.#options;
    this.#listener = await selectDriver(driver).listen(
      {
        host,
        port,
        ...(tls === undefined ? {} : { tls }),
        ...(logger === undefined ? {} : { logger }),
      },
      (stream, origin) => void this.#accept(stream, origin),
    );
    let lastMs = performance.now();
    this.#timer = setInterval(() => {
      const now = performance.now();
      this.#endSilent(now - pausedMs(now - lastMs, sweepMs));
      lastMs = now;
    }, sweepMs);
    this.#timer.unref();
  }

  addHandlers(handlers: Handlers): void {
    for (const [method, handler] of Object.entries(handlers.calls)) {
      if (this.#calls.has(method)) throw new TypeError(`handlers: the method ${method} is taken`);
      this.#calls.set(method, handler);
    }
    for (const [method, handler] of Object.entries(handlers.notices ?? {})) {
      if (this.#notices.has(method)) throw new TypeError(`handlers: the notice ${method} is taken`);
      this.#notices.set(method, handler);
    }
  }

  async reloadCertificates(tls: ServerTls): Promise<void> {
    if (this.#listener === undefined || this.#closing !== undefined) throw new Error('the server is closed');
    await this.#listener.reload(tls);
    this.#options.logger?.info({ port: this.port }, 'certificates reloaded');
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    clearInterval(this.#timer);
    const lanes = [...this.#lanes];
    for (const { lane } of lanes) lane.fail(new TransportError('unreachable', 'the server closes'));
    for (const stream of this.#unauthenticated.keys()) stream.destroy();
    let timer: NodeJS.Timeout | undefined;
    await Promise.race([
      Promise.all(lanes.map((lane) => lane.settled())),
      new Promise((resolve) => (timer = setTimeout(resolve, closeGraceMs))),
    ]);
    clearTimeout(timer);
    await this.#listener?.close();
  }

  async #accept(stream: ByteStream, origin: StreamOrigin): Promise<void> {
    if (this.#closing !== undefined) {
      stream.destroy();
      return;
    }
    this.#makeRoom();
    this.#unauthenticated.set(stream, origin);
    let lane: Lane;
    try {
      lane = await Lane.accept(stream, this.#options);
    } catch (error) {
      this.#options.logger?.warn({ address: origin.address, error: messageOf(error) }, 'a lane was refused');
      setTimeout(() => this.#drop(stream), refusalMs).unref();
      return;
    }
    this.#unauthenticated.delete(stream);
    if (this.#isClosing()) {
      lane.destroy(new TransportError('unreachable', 'the server closes'));
      return;
    }
    const { from } = lane.hello;
    const ofPeer = this.#lanesOf.get(from) ?? 0;
    if (this.#lanes.size >= maxLanes || ofPeer >= maxLanesPerPeer) {
      lane.fail(new TransportError('overloaded', 'too many lanes are open'));
      return;
    }
    this.#lanesOf.set(from, ofPeer + 1);
    const serverLane: ServerLane = new ServerLane({
      lane,
      handlers: { calls: this.#calls, notices: this.#notices },
      budget: this.#budget,
      onClosed: () => this.#closed(serverLane),
      onNoticeError: (method, error) => {
        this.#options.logger?.warn({ method, error: messageOf(error) }, 'the handler of a notice failed');
      },
    });
    this.#lanes.add(serverLane);
  }

  #closed(lane: ServerLane): void {
    this.#lanes.delete(lane);
    const left = (this.#lanesOf.get(lane.from) ?? 1) - 1;
    if (left === 0) this.#lanesOf.delete(lane.from);
    else this.#lanesOf.set(lane.from, left);
  }

  /** The oldest of those that prove nothing goes; an honest one needs a few milliseconds. */
  #makeRoom(): void {
    if (this.#unauthenticated.size < maxUnauthenticatedLanes) return;
    for (const stream of this.#unauthenticated.keys()) {
      this.#drop(stream);
      return;
    }
  }

  #drop(stream: ByteStream): void {
    const origin = this.#unauthenticated.get(stream);
    if (origin === undefined) return;
    this.#unauthenticated.delete(stream);
    stream.destroy();
    origin.drop();
  }

  #endSilent(now: number): void {
    for (const { lane } of this.#lanes) {
      if (now - lane.heardMs > serverSilenceMs) {
        lane.destroy(new TransportError('unreachable', `silent for ${serverSilenceMs} ms`));
      }
    }
  }

  #isClosing(): boolean {
    return this.#closing !== undefined;
  }
}
