import { Buffer } from 'node:buffer';
import type { TransportError } from './errors.ts';
import { initialWindowBytes } from './limits.ts';

/** What the bodies of a lane may have granted beyond their initial windows, together. */
export class CreditBudget {
  #freeBytes: number;

  constructor(bytes: number) {
    this.#freeBytes = bytes;
  }

  /** Takes up to `bytes`; returns how many it got. */
  take(bytes: number): number {
    const got = Math.min(bytes, this.#freeBytes);
    this.#freeBytes -= got;
    return got;
  }

  giveBack(bytes: number): void {
    this.#freeBytes += bytes;
  }
}

export interface BodyReaderOptions {
  /** Bytes that may be granted and not yet consumed. */
  readonly windowBytes: number;
  readonly budget: CreditBudget;
  /** Tell the other side that it may send more. */
  grant(bytes: number): void;
  /** Bytes were consumed. */
  onProgress(): void;
  /** The reader wants no more, before the end. */
  onReturn(): void;
  /** Once: nothing is held any more and nothing will be, however it ended. */
  onFinished(): void;
}

/** Smaller parts than this are put together when they pile up, so that bytes and not objects are what is held. */
const smallPartBytes = 2048;
const smallPartsHeld = 64;

/**
 * A body that comes in. It holds at most the bytes it has granted; it grants as they are consumed, up to the window
 * while the lane's budget lasts and never less than the initial window, so that every body moves.
 */
export class BodyReader implements AsyncIterable<Uint8Array>, AsyncIterator<Uint8Array, undefined> {
  readonly #options: BodyReaderOptions;
  #parts: Buffer[] = [];
  /** Granted and not yet consumed: what may be held here or be on its way. */
  #outstandingBytes = initialWindowBytes;
  #heldBytes = 0;
  #borrowedBytes = 0;
  #released = false;
  #ended = false;
  #error: TransportError | undefined;
  #returned = false;
  #waiting: Waiting | undefined;

  constructor(options: BodyReaderOptions) {
    this.#options = options;
  }

  /** False: the other side sent more than it was granted. */
  push(part: Buffer, last: boolean): boolean {
    if (this.#ended) return false;
    if (this.#heldBytes + part.length > this.#outstandingBytes) return false;
    if (last) this.#ended = true;
    if (this.#returned || this.#error !== undefined) return true;
    const waiting = this.#waiting;
    if (part.length > 0) {
      if (waiting !== undefined) {
        this.#waiting = undefined;
        this.#consumed(part.length);
        waiting.resolve({ done: false, value: part });
        return true;
      }
      this.#heldBytes += part.length;
      this.#hold(part);
    }
    if (last && this.#parts.length === 0) {
      this.#release();
      this.#waiting = undefined;
      waiting?.resolve({ done: true, value: undefined });
    }
    return true;
  }

  /** What is held is dropped; the reader gets the error. Nothing happens after the end or after `return`. */
  fail(error: TransportError): void {
    if (this.finished) {
      this.#release();
      return;
    }
    this.#error = error;
    this.#parts = [];
    this.#heldBytes = 0;
    this.#release();
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.reject(error);
  }

  /** The last byte has come and been consumed, or nobody wants it any more. */
  get finished(): boolean {
    return this.#returned || this.#error !== undefined || (this.#ended && this.#parts.length === 0);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<Uint8Array, undefined>> {
    const part = this.#parts.shift();
    if (part !== undefined) {
      this.#heldBytes -= part.length;
      this.#consumed(part.length);
      return Promise.resolve({ done: false, value: part });
    }
    if (this.#error !== undefined) return Promise.reject(this.#error);
    if (this.#ended || this.#returned) {
      return Promise.resolve({ done: true, value: undefined });
    }
    if (this.#waiting !== undefined) return Promise.reject(new TypeError('a body has one reader at a time'));
    this.#grant();
    return new Promise((resolve, reject) => (this.#waiting = { resolve, reject }));
  }

  return(): Promise<IteratorResult<Uint8Array, undefined>> {
    if (!this.#returned && this.#error === undefined) {
      const early = !this.#ended || this.#parts.length > 0;
      this.#returned = true;
      this.#parts = [];
      this.#heldBytes = 0;
      this.#release();
      const waiting = this.#waiting;
      this.#waiting = undefined;
      waiting?.resolve({ done: true, value: undefined });
      if (early) this.#options.onReturn();
    }
    return Promise.resolve({ done: true, value: undefined });
  }

  #hold(part: Buffer): void {
    const last = this.#parts.length - 1;
    const before = this.#parts[last];
    if (last < smallPartsHeld || before === undefined || part.length >= smallPartBytes) {
      this.#parts.push(part);
    } else if (before.length < 2 * smallPartBytes) {
      this.#parts[last] = Buffer.concat([before, part]);
    } else {
      // A copy, so that a few bytes don't keep a whole packet's buffer alive.
      this.#parts.push(Buffer.from(part));
    }
  }

  #consumed(bytes: number): void {
    this.#outstandingBytes -= bytes;
    this.#options.onProgress();
    if (!this.#ended) this.#grant();
    else if (this.#parts.length === 0) this.#release();
  }

  #grant(): void {
    const window = this.#options.windowBytes;
    const wanted = window - this.#outstandingBytes;
    // A quarter of the window at a time, unless the other side may be out of credit before that.
    if (wanted < window / 4) return;
    this.#borrowedBytes += this.#options.budget.take(window - initialWindowBytes - this.#borrowedBytes);
    const grant = initialWindowBytes + this.#borrowedBytes - this.#outstandingBytes;
    if (grant <= 0 || (grant < initialWindowBytes / 4 && this.#outstandingBytes > 0)) return;
    this.#outstandingBytes += grant;
    this.#options.grant(grant);
  }

  #release(): void {
    if (this.#released) return;
    this.#released = true;
    this.#options.onFinished();
    this.#options.budget.giveBack(this.#borrowedBytes);
    this.#borrowedBytes = 0;
  }
}

interface Waiting {
  resolve(result: IteratorResult<Uint8Array, undefined>): void;
  reject(error: unknown): void;
}
