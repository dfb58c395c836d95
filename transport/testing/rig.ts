import { Buffer } from 'node:buffer';
import type { Driver, TransportLogger } from '../driver.ts';
import { type DialOptions, type DialedPeer, dialPeer } from '../peer.ts';
import { type ListenOptions, type ReloadableServer, listenTransport } from '../server.ts';
import type { Handler, Handlers } from '../transport.ts';
import { TestAuthority } from './certificates.ts';
import { RawLane } from './raw_lane.ts';

export interface ContractSubject {
  /** Every test gets one of its own. */
  driver(): Driver;
  /** Whether it uses certificates. */
  readonly secure: boolean;
}

export const clusterId = 'c-1';
export const secret = Buffer.alloc(32, 7);
export const host = '127.0.0.1';
export const authority = new TestAuthority();
export const certificate = authority.issue(`node-1.${clusterId}.s3d`);

/** Servers and peers over one driver; `close` ends all that a test opened. */
export class Rig {
  readonly #subject: ContractSubject;
  #driver: Driver | undefined;
  readonly #open: (() => Promise<void>)[] = [];

  constructor(subject: ContractSubject) {
    this.#subject = subject;
  }

  get secure(): boolean {
    return this.#subject.secure;
  }

  get driver(): Driver {
    this.#driver ??= this.#subject.driver();
    return this.#driver;
  }

  onClose(close: () => Promise<void>): void {
    this.#open.push(close);
  }

  async close(): Promise<void> {
    for (const close of this.#open.splice(0).reverse()) await close();
    this.#driver = undefined;
  }

  async serve(
    handlers: Handlers | Handlers['calls'],
    options: Partial<ListenOptions> = {},
  ): Promise<ReloadableServer> {
    const server = await listenTransport({
      driver: this.driver,
      host,
      port: 0,
      self: 'node-1',
      clusterId,
      secret,
      tls: certificate,
      handlers: isHandlers(handlers) ? handlers : { calls: handlers },
      ...options,
    });
    this.onClose(() => server.close());
    return server;
  }

  dial(port: number, options: Partial<DialOptions> = {}): DialedPeer {
    const peer = dialPeer({
      driver: this.driver,
      host,
      port,
      peer: 'node-1',
      self: 'gateway-1',
      clusterId,
      secret,
      tls: { ca: authority.ca },
      ...options,
    });
    this.onClose(() => peer.close());
    return peer;
  }

  async pair(handlers: Handlers | Handlers['calls']): Promise<DialedPeer> {
    return this.dial((await this.serve(handlers)).port);
  }

  async raw(port: number): Promise<RawLane> {
    const lane = await RawLane.connect({
      driver: this.driver,
      host,
      port,
      clusterId,
      peer: 'node-1',
      tls: { ca: authority.ca },
    });
    this.onClose(() => lane.close());
    return lane;
  }
}

export class RecordingLogger implements TransportLogger {
  readonly warnings: string[] = [];

  info(): void {
    // Nobody asks for these.
  }

  warn(_fields: object, message: string): void {
    this.warnings.push(message);
  }
}

export const echo: Handler = (call) => Promise.resolve({ header: call.header, body: call.body });

export const sink: Handler = async (call) => {
  let bytes = 0;
  for await (const chunk of call.body) bytes += chunk.length;
  return { header: Buffer.from(String(bytes)) };
};

function isHandlers(handlers: Handlers | Handlers['calls']): handlers is Handlers {
  return 'calls' in handlers && typeof handlers.calls === 'object';
}
