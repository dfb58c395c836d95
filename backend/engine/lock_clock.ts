/**
 * The time by which a retention ends. It never runs backwards, and a wall clock that jumps ahead while the process
 * runs doesn't take it along: it is never later than when it was opened and what has really passed since.
 */
export class LockClock {
  readonly #wall: () => number;
  readonly #monotonic: () => number;
  readonly #openedWallMs: number;
  readonly #openedMs: number;
  #latestMs = 0;

  /** @param clocks milliseconds since 1970, and milliseconds since whenever that nobody can set. */
  constructor(clocks: { readonly wall: () => number; readonly monotonic: () => number }) {
    this.#wall = clocks.wall;
    this.#monotonic = clocks.monotonic;
    this.#openedWallMs = clocks.wall();
    this.#openedMs = clocks.monotonic();
  }

  /** Milliseconds since 1970. */
  nowMs(): number {
    const passedMs = this.#monotonic() - this.#openedMs;
    const nowMs = Math.floor(Math.min(this.#wall(), this.#openedWallMs + passedMs));
    this.#latestMs = Math.max(this.#latestMs, nowMs);
    return this.#latestMs;
  }
}
