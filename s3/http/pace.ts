/** How slow a peer may be before its connection is given up. */
export interface PaceLimits {
  /** Longest wait for the next byte, either way. */
  readonly idleMs: number;
  /** Least bytes a second, counted over the time spent waiting for the peer, once `graceMs` of it have passed. */
  readonly minBytesPerSecond: number;
  readonly graceMs: number;
}

/**
 * Watches one direction of one connection. Only the time spent waiting for the peer counts, so a slow disk of ours
 * never makes a client look slow.
 */
export class Pace {
  readonly #limits: PaceLimits;
  #waitedMs = 0;
  #bytes = 0;

  constructor(limits: PaceLimits) {
    this.#limits = limits;
  }

  /** Bytes that came or went since. */
  progress(bytes: number): void {
    this.#bytes += bytes;
  }

  /** Adds up a wait that has ended. */
  waited(ms: number): void {
    this.#waitedMs += ms;
  }

  /** How long the peer may be waited for now, in milliseconds; 0 when its time is up. */
  get allowanceMs(): number {
    const { idleMs, minBytesPerSecond, graceMs } = this.#limits;
    const earnedMs = graceMs + (this.#bytes / minBytesPerSecond) * 1000;
    return Math.max(0, Math.min(idleMs, earnedMs - this.#waitedMs));
  }
}
