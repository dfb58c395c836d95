import type { Timing } from './ports.ts';

/** Weights of a new sample, as TCP's round-trip estimate has them (RFC 6298). */
const meanWeight = 1 / 8;
const deviationWeight = 1 / 4;
/** Each fetch earns a tenth of a hedge, so that a cluster that is slow as a whole is not asked twice for all. */
const earnedPerFetch = 0.1;
const maxSaved = 20;

/**
 * When a block is late: judged by how long blocks have lately taken to come, from all nodes together. One for a
 * process.
 */
export class ReadPace {
  readonly #timing: Timing;
  #meanMs: number | undefined;
  #deviationMs = 0;
  #saved = maxSaved;

  constructor(timing: Timing) {
    this.#timing = timing;
  }

  /** A block came `elapsedMs` after it was asked for, or after the one before it. */
  observe(elapsedMs: number): void {
    if (this.#meanMs === undefined) {
      this.#meanMs = elapsedMs;
      this.#deviationMs = elapsedMs / 2;
      return;
    }
    this.#deviationMs += (Math.abs(elapsedMs - this.#meanMs) - this.#deviationMs) * deviationWeight;
    this.#meanMs += (elapsedMs - this.#meanMs) * meanWeight;
  }

  /** How long to wait for a block before another shard is asked, if the budget allows. */
  get lateMs(): number {
    const { hedgeMs, minHedgeMs, maxHedgeMs } = this.#timing;
    if (this.#meanMs === undefined) return hedgeMs;
    return Math.min(Math.max(this.#meanMs + 4 * this.#deviationMs, minHedgeMs), maxHedgeMs);
  }

  /** A fetch began. */
  earn(): void {
    this.#saved = Math.min(this.#saved + earnedPerFetch, maxSaved);
  }

  /** Takes one hedge from the budget, if there is one. */
  spend(): boolean {
    if (this.#saved < 1) return false;
    this.#saved -= 1;
    return true;
  }
}
