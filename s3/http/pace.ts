/** How slow a peer may be before its connection is given up. */
export interface PaceLimits {
  /** Longest wait for the next byte, either way. */
  readonly idleMs: number;
  /** Least bytes a second, counted over the time spent waiting for the peer, once `graceMs` of it have passed. */
  readonly minBytesPerSecond: number;
  readonly graceMs: number;
}

/**
 * Waits for one direction of one connection, but not for ever. Only the time spent waiting for the peer counts, so a
 * slow disk of ours never makes a client look slow.
 *
 * A body makes thousands of waits, nearly all of them short: one timer serves them all and is only set anew when it
 * fires, not at every wait.
 */
export class PacedWait {
  readonly #limits: PaceLimits;
  #waitedMs = 0;
  #bytes = 0;
  #timer: NodeJS.Timeout | undefined;
  #timerDueMs = Infinity;
  /** When the wait that is under way is over; Infinity while there is none. */
  #deadlineMs = Infinity;
  #settle: ((woken: boolean) => void) | undefined;

  constructor(limits: PaceLimits) {
    this.#limits = limits;
  }

  /** Bytes that came or went. */
  progress(bytes: number): void {
    this.#bytes += bytes;
  }

  /** Resolves true when `wake` is called and false when the peer's time is up. One wait at a time. */
  async wait(): Promise<boolean> {
    const allowanceMs = this.#allowanceMs();
    if (allowanceMs <= 0) return false;
    const beganMs = performance.now();
    this.#deadlineMs = beganMs + allowanceMs;
    if (this.#deadlineMs < this.#timerDueMs) this.#arm(beganMs);
    const woken = await new Promise<boolean>((resolve) => {
      this.#settle = resolve;
    });
    this.#settle = undefined;
    this.#deadlineMs = Infinity;
    this.#waitedMs += performance.now() - beganMs;
    return woken;
  }

  /** Ends the wait that is under way, if any. */
  readonly wake = (): void => {
    this.#settle?.(true);
  };

  /** Nothing will be waited for any more. */
  release(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#timerDueMs = Infinity;
  }

  #allowanceMs(): number {
    const { idleMs, minBytesPerSecond, graceMs } = this.#limits;
    const earnedMs = graceMs + (this.#bytes / minBytesPerSecond) * 1000;
    return Math.min(idleMs, earnedMs - this.#waitedMs);
  }

  #arm(nowMs: number): void {
    clearTimeout(this.#timer);
    this.#timerDueMs = this.#deadlineMs;
    this.#timer = setTimeout(this.#onTimer, Math.max(1, Math.ceil(this.#deadlineMs - nowMs)));
  }

  readonly #onTimer = (): void => {
    this.#timer = undefined;
    this.#timerDueMs = Infinity;
    if (this.#deadlineMs === Infinity) return;
    const nowMs = performance.now();
    if (nowMs >= this.#deadlineMs) this.#settle?.(false);
    else this.#arm(nowMs);
  };
}
