import { Buffer } from 'node:buffer';
import type {
  AcceptStream,
  ByteStream,
  ByteStreamEvents,
  Connection,
  Driver,
  DriverConnectOptions,
  DriverListenOptions,
  Listener,
} from '../driver.ts';
import { TransportError } from '../errors.ts';

/** Bytes on their way in one direction before `write` says false. */
const highWaterBytes = 1024 * 1024;

/**
 * The network of one process: whoever shares it reaches each other without sockets or copies (chunks are handed over
 * as they are). The composer makes one and gives its `driver` to every server and peer of the process.
 */
export class PipeNetwork {
  readonly driver: Driver;
  readonly #listeners = new Map<string, PipeListener>();
  #nextPort = 1;

  constructor() {
    this.driver = {
      name: 'pipe',
      listen: (options, accept) => Promise.resolve().then(() => this.#listen(options, accept)),
      connect: (options) => Promise.resolve().then(() => this.#connect(options)),
    };
  }

  #listen(options: DriverListenOptions, accept: AcceptStream): Listener {
    let port = options.port;
    if (port === 0) {
      while (this.#listeners.has(key(options.host, this.#nextPort))) this.#nextPort++;
      port = this.#nextPort++;
    }
    const name = key(options.host, port);
    if (this.#listeners.has(name)) throw new TransportError('unreachable', `${name} is taken`);
    const listener = new PipeListener({ host: options.host, port }, accept, () =>
      this.#listeners.delete(name),
    );
    this.#listeners.set(name, listener);
    return listener;
  }

  #connect(options: DriverConnectOptions): Connection {
    const name = key(options.host, options.port);
    const listener = this.#listeners.get(name);
    if (listener === undefined) throw new TransportError('unreachable', `nobody listens on ${name}`);
    return listener.connect();
  }
}

function key(host: string, port: number): string {
  return `${host}:${port}`;
}

class PipeListener implements Listener {
  readonly host: string;
  readonly port: number;
  readonly #accept: AcceptStream;
  readonly #closed: () => void;
  readonly #connections = new Set<PipeConnection>();

  constructor(address: { host: string; port: number }, accept: AcceptStream, closed: () => void) {
    this.host = address.host;
    this.port = address.port;
    this.#accept = accept;
    this.#closed = closed;
  }

  connect(): PipeConnection {
    const connection: PipeConnection = new PipeConnection(this.#accept, () =>
      this.#connections.delete(connection),
    );
    this.#connections.add(connection);
    return connection;
  }

  async reload(): Promise<void> {
    // There is no certificate in a pipe.
  }

  async close(): Promise<void> {
    this.#closed();
    for (const connection of this.#connections) connection.lose();
    this.#connections.clear();
  }
}

class PipeConnection implements Connection {
  readonly via = 'pipe';
  readonly #accept: AcceptStream;
  readonly #gone: () => void;
  readonly #streams = new Set<PipeEnd>();
  #open = true;
  #onLost: ((error: Error) => void) | undefined;

  constructor(accept: AcceptStream, gone: () => void) {
    this.#accept = accept;
    this.#gone = gone;
  }

  async openStream(): Promise<ByteStream> {
    if (!this.#open) throw new TransportError('unreachable', 'the connection is closed');
    const [near, far] = pipePair();
    this.#streams.add(near);
    this.#accept(far, { address: 'pipe', drop: () => this.lose() });
    return near;
  }

  onLost(listener: (error: Error) => void): void {
    this.#onLost = listener;
  }

  lose(): void {
    if (!this.#open) return;
    this.#end();
    this.#onLost?.(new Error('the other side closed the connection'));
  }

  async close(): Promise<void> {
    this.#end();
  }

  #end(): void {
    this.#open = false;
    this.#gone();
    for (const stream of this.#streams) stream.destroy();
    this.#streams.clear();
  }
}

/** Two ends; what is written to one comes out of the other, a turn of the event loop later. */
function pipePair(): readonly [PipeEnd, PipeEnd] {
  const near = new PipeEnd();
  const far = new PipeEnd();
  near.join(far);
  far.join(near);
  return [near, far];
}

class PipeEnd implements ByteStream {
  #other: PipeEnd | undefined;
  #events: ByteStreamEvents | undefined;
  /** What waits to come out of this end. */
  #inbox: Uint8Array[] = [];
  #inboxBytes = 0;
  #finished = false;
  #scheduled = false;
  #full = false;
  #closed = false;

  join(other: PipeEnd): void {
    this.#other = other;
  }

  start(events: ByteStreamEvents): void {
    this.#events = events;
    if (this.#closed) setImmediate(() => events.onClose(undefined));
    else this.#schedule();
  }

  write(chunk: Uint8Array): boolean {
    const other = this.#other;
    if (this.#closed || other === undefined) return true;
    other.#inbox.push(chunk);
    other.#inboxBytes += chunk.length;
    other.#schedule();
    if (other.#inboxBytes < highWaterBytes) return true;
    this.#full = true;
    return false;
  }

  end(): void {
    const other = this.#other;
    if (this.#closed || other === undefined) return;
    other.#finished = true;
    other.#schedule();
  }

  destroy(): void {
    this.close();
    const other = this.#other;
    if (other !== undefined) {
      other.#finished = true;
      other.#schedule();
    }
  }

  #schedule(): void {
    if (this.#scheduled || this.#events === undefined || this.#closed) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#deliver();
    });
  }

  #deliver(): void {
    const events = this.#events;
    if (events === undefined || this.#closed) return;
    const inbox = this.#inbox;
    this.#inbox = [];
    this.#inboxBytes = 0;
    for (const chunk of inbox) {
      events.onData(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength));
      // A callback may have ended this side.
      if (this.#isClosed()) return;
    }
    this.#other?.drained();
    if (this.#finished && this.#inbox.length === 0) {
      this.close();
      this.#other?.close();
    }
  }

  #isClosed(): boolean {
    return this.#closed;
  }

  drained(): void {
    if (!this.#full || this.#closed) return;
    this.#full = false;
    this.#events?.onDrain();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#inbox = [];
    const events = this.#events;
    if (events !== undefined) setImmediate(() => events.onClose(undefined));
  }
}
