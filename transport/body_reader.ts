import { Buffer } from 'node:buffer';
import type { TransportError } from './errors.ts';
import { initialWindowBytes } from './limits.ts';

/**
 * What a number of bodies may have granted beyond their initial windows, together. Each has the same share, so that
 * many don't wait behind a few, and what is under way stays small: a small request may find all of it before itself.
 */
export class CreditBudget {
  readonly #totalBytes: number;
  #freeBytes: number;
  #readers = 0;

  constructor(bytes: number) {
    this.#totalBytes = bytes;
    this.#freeBytes = bytes;
  }

  /** What one of the readers may have. */
  get shareBytes(): number {
    return Math.floor(this.#totalBytes / Math.max(1, this.#readers));
  }

  join(): void {
    this.#readers++;
  }

  leave(): void {
    this.#readers--;
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

interface BodyReaderOptions {
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
 * while the budget lasts and never less than the initial window, so that every body moves.
 */
export class BodyReader implements AsyncIterable<Uint8Array>, AsyncIterator<Uint8Array, undefined> {
  readonly #options: BodyReaderOptions;
  #parts: Buffer[] = [];
  /** Granted and not yet consumed: what may be held here or be on its way. */
  #outstandingBytes = initialWindowBytes;
  #heldBytes = 0;
  #borrowedBytes = 0;
  #joined = false;
  #left = false;
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
    if (last) {
      this.#ended = true;
      this.#leave();
    }
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
    const { budget, windowBytes } = this.#options;
    if (!this.#joined) {
      this.#joined = true;
      budget.join();
    }
    const share = Math.min(windowBytes - initialWindowBytes, budget.shareBytes);
    if (share > this.#borrowedBytes) {
      this.#borrowedBytes += budget.take(share - this.#borrowedBytes);
    } else {
      // What is out can't be called back; it shrinks as it is consumed and not granted again.
      this.#borrow(Math.max(share, this.#outstandingBytes - initialWindowBytes));
    }
    const whole = initialWindowBytes + this.#borrowedBytes;
    const grant = whole - this.#outstandingBytes;
    // A quarter at a time: a frame for every packet would cost more than it moves.
    if (grant < whole / 4) return;
    this.#outstandingBytes += grant;
    this.#options.grant(grant);
  }

  #borrow(bytes: number): void {
    if (bytes >= this.#borrowedBytes) return;
    this.#options.budget.giveBack(this.#borrowedBytes - bytes);
    this.#borrowedBytes = bytes;
  }

  /** Nothing more comes, so nothing need be set aside for it. */
  #leave(): void {
    if (this.#left) return;
    this.#left = true;
    this.#borrow(0);
    if (this.#joined) this.#options.budget.leave();
  }

  #release(): void {
    if (this.#released) return;
    this.#released = true;
    this.#leave();
    this.#options.onFinished();
  }
}

interface Waiting {
  resolve(result: IteratorResult<Uint8Array, undefined>): void;
  reject(error: unknown): void;
}
