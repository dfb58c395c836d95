import type { Buffer } from 'node:buffer';
import type { Duplex } from 'node:stream';
import type { ByteStream, ByteStreamEvents } from '../driver.ts';

/** How long a stream that was ended may take to be closed by the other side as well. */
const lingerMs = 1000;

/** A Node stream as a byte stream. `abort` ends it at once, in whatever way its library needs to tell the other side. */
export class DuplexByteStream implements ByteStream {
  readonly #duplex: Duplex;
  readonly #abort: () => void;
  #events: ByteStreamEvents | undefined;
  #error: Error | undefined;
  #closed = false;
  #linger: NodeJS.Timeout | undefined;

  constructor(duplex: Duplex, abort: () => void) {
    this.#duplex = duplex;
    this.#abort = abort;
    duplex.on('error', (error: Error) => {
      this.#error ??= error;
      this.#close();
    });
    duplex.on('close', () => this.#close());
  }

  start(events: ByteStreamEvents): void {
    this.#events = events;
    if (this.#closed) {
      setImmediate(() => events.onClose(this.#error));
      return;
    }
    this.#duplex.on('data', (chunk: Buffer) => {
      if (!this.#closed) events.onData(chunk);
    });
    this.#duplex.on('drain', () => {
      if (!this.#closed) events.onDrain();
    });
    this.#duplex.on('end', () => this.destroy());
  }

  write(chunk: Uint8Array): boolean {
    if (this.#closed || this.#duplex.writableEnded || this.#duplex.destroyed) return true;
    return this.#duplex.write(chunk);
  }

  end(): void {
    if (this.#closed || this.#linger !== undefined) return;
    this.#linger = setTimeout(() => this.destroy(), lingerMs);
    this.#linger.unref();
    this.#duplex.end();
  }

  destroy(): void {
    if (this.#closed) return;
    this.#close();
    this.#abort();
  }

  #close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#linger);
    const events = this.#events;
    if (events !== undefined) setImmediate(() => events.onClose(this.#error));
  }
}
