import { sleep, type Clock } from '../clock.ts';

/** Lets so many bytes a second through, with bursts of up to a second's worth. */
export class BytePace {
  readonly #bytesPerSecond: number;
  readonly #clock: Clock;
  /** When all that was let through would have passed at the rate. */
  #paidUntilMs = 0;

  constructor(bytesPerSecond: number, clock: Clock) {
    if (!(bytesPerSecond > 0)) throw new RangeError(`bytesPerSecond must be above 0, not ${bytesPerSecond}`);
    this.#bytesPerSecond = bytesPerSecond;
    this.#clock = clock;
  }

  /** Resolves when `bytes` more may be moved. @throws the signal's reason when it aborts first. */
  async take(bytes: number, signal: AbortSignal): Promise<void> {
    const nowMs = this.#clock.monotonicMs();
    const waitMs = this.#paidUntilMs - nowMs;
    this.#paidUntilMs = Math.max(this.#paidUntilMs, nowMs - 1000) + (bytes / this.#bytesPerSecond) * 1000;
    if (waitMs > 0) await sleep(waitMs, { clock: this.#clock, signal });
    signal.throwIfAborted();
  }
}
