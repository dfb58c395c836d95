import { setTimeout as sleep } from 'node:timers/promises';

/** Work that is done at once at most; beyond it, waiting. */
const BURST_MS = 50;
/** So that an abort or another rate is noticed in time. */
const LONGEST_WAIT_MS = 1000;

export interface PaceOptions {
  /** Default: no limit. */
  readonly bytesPerSecond?: number;
  readonly signal?: AbortSignal;
  readonly now?: () => number;
  readonly sleep?: (ms: number) => Promise<unknown>;
}

/** Spreads background work over time, so that it leaves the disk to the foreground. */
export class Pace {
  readonly #bytesPerSecond: number;
  readonly #signal: AbortSignal | undefined;
  readonly #now: () => number;
  readonly #sleep: (ms: number) => Promise<unknown>;
  /** When everything spent so far would be done at the given rate. */
  #paidUntil: number;

  constructor(options: PaceOptions = {}) {
    this.#bytesPerSecond = options.bytesPerSecond ?? Infinity;
    this.#signal = options.signal;
    this.#now = options.now ?? (() => performance.now());
    this.#sleep = options.sleep ?? sleep;
    this.#paidUntil = this.#now();
  }

  /** Resolves when work of that size may go on. @throws the signal's reason once it is aborted */
  async spend(bytes: number): Promise<void> {
    this.#signal?.throwIfAborted();
    if (this.#bytesPerSecond === Infinity) return;
    const now = this.#now();
    this.#paidUntil = Math.max(this.#paidUntil, now - BURST_MS) + (bytes / this.#bytesPerSecond) * 1000;
    let left = this.#paidUntil - now;
    while (left > 0) {
      const wait = Math.min(left, LONGEST_WAIT_MS);
      await this.#sleep(wait);
      this.#signal?.throwIfAborted();
      left -= wait;
    }
  }
}
