import { initialWindowBytes, readAheadBytes } from './limits.ts';
import type { DataSource, LaneWriter } from './lane_writer.ts';

interface BodySenderOptions {
  readonly id: number;
  readonly writer: LaneWriter;
  /** Bytes have left; the call is alive. */
  onProgress(): void;
  /** Once: all of the body has left, or (with an error) its source failed. Not called after `stop`. */
  onDone(error: { readonly cause: unknown } | undefined): void;
}

/** Sends one body as the other side grants credit, reading ahead of it by at most `readAheadBytes` and a chunk. */
export class BodySender implements DataSource {
  readonly id: number;
  readonly #options: BodySenderOptions;
  #iterator: AsyncIterator<Uint8Array> | undefined;
  #chunks: Uint8Array[] = [];
  #queuedBytes = 0;
  #credit = initialWindowBytes;
  #sourceEnded = false;
  #over = false;
  /** In the writer's line. */
  #lined = false;
  #wake: (() => void) | undefined;

  constructor(options: BodySenderOptions) {
    this.id = options.id;
    this.#options = options;
  }

  start(body: AsyncIterable<Uint8Array>): void {
    void this.#run(body);
  }

  /** The other side takes so many bytes more. */
  grant(bytes: number): void {
    this.#credit += bytes;
    this.#line();
  }

  /** Nothing more is sent; the source is told to return. */
  stop(): void {
    if (this.#over) return;
    this.#finish();
    const iterator = this.#iterator;
    // A generator that waits for its own source answers when that does; nobody waits for it here.
    if (iterator?.return !== undefined) iterator.return().catch(() => undefined);
  }

  take(maxBytes: number): { readonly chunk: Uint8Array; readonly last: boolean } | undefined {
    this.#lined = false;
    if (this.#over) return undefined;
    const first = this.#chunks[0];
    if (first === undefined) {
      if (!this.#sourceEnded) return undefined;
      return this.#last(empty);
    }
    const size = Math.min(first.length, maxBytes, this.#credit);
    if (size === 0) return undefined;
    this.#credit -= size;
    this.#queuedBytes -= size;
    this.#options.onProgress();
    let chunk = first;
    if (size === first.length) {
      this.#chunks.shift();
    } else {
      chunk = first.subarray(0, size);
      this.#chunks[0] = first.subarray(size);
    }
    if (this.#chunks.length === 0 && this.#sourceEnded) return this.#last(chunk);
    if (this.#queuedBytes < readAheadBytes) this.#wakeSource();
    this.#line();
    return { chunk, last: false };
  }

  #last(chunk: Uint8Array): { readonly chunk: Uint8Array; readonly last: boolean } {
    this.#finish();
    this.#options.onDone(undefined);
    return { chunk, last: true };
  }

  async #run(body: AsyncIterable<Uint8Array>): Promise<void> {
    try {
      const iterator = body[Symbol.asyncIterator]();
      this.#iterator = iterator;
      while (!this.#over) {
        const step = await iterator.next();
        if (step.done === true) break;
        if (step.value.length === 0) continue;
        this.#chunks.push(step.value);
        this.#queuedBytes += step.value.length;
        this.#line();
        while (this.#queuedBytes >= readAheadBytes && !this.#isOver()) {
          await new Promise<void>((resolve) => (this.#wake = resolve));
        }
      }
      this.#sourceEnded = true;
      this.#line();
    } catch (cause) {
      if (this.#over) return;
      this.#finish();
      this.#options.onDone({ cause });
    }
  }

  #line(): void {
    if (this.#lined || this.#over) return;
    const some = this.#chunks.length > 0;
    if (some ? this.#credit === 0 : !this.#sourceEnded) return;
    this.#lined = true;
    this.#options.writer.ready(this);
  }

  #isOver(): boolean {
    return this.#over;
  }

  #finish(): void {
    this.#over = true;
    this.#chunks = [];
    this.#queuedBytes = 0;
    this.#wakeSource();
  }

  #wakeSource(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }
}

const empty = new Uint8Array(0);
