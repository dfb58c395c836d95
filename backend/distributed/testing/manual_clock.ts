import type { Clock } from '../../clock.ts';

/** A clock that moves when it is told to. */
export class ManualClock implements Clock {
  readonly startMs = 1_700_000_000_000;
  #elapsedMs = 0;
  readonly #timers = new Set<{ readonly atMs: number; readonly callback: () => void }>();

  nowMs(): number {
    return this.startMs + this.#elapsedMs;
  }

  monotonicMs(): number {
    return this.#elapsedMs;
  }

  after(delayMs: number, callback: () => void): () => void {
    const timer = { atMs: this.#elapsedMs + delayMs, callback };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  /** Moves on by `ms`, calling what is due on the way, and lets what that started run. */
  async advance(ms: number): Promise<void> {
    const untilMs = this.#elapsedMs + ms;
    for (;;) {
      const due = [...this.#timers]
        .filter((timer) => timer.atMs <= untilMs)
        .sort((a, b) => a.atMs - b.atMs)[0];
      if (due === undefined) break;
      this.#timers.delete(due);
      this.#elapsedMs = due.atMs;
      due.callback();
      await new Promise(setImmediate);
    }
    this.#elapsedMs = untilMs;
    await new Promise(setImmediate);
  }
}
