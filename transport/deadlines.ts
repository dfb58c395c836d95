import { sweepMs } from './limits.ts';

/** Something that must move within a time. */
export interface Due {
  /** By `performance.now()`. */
  dueMs: number;
  onDue(): void;
}

/**
 * Looks at the deadlines of everything at work, every 20 ms. A timer for each call would cost more than the calls.
 * It runs only while there is something to look at.
 */
export class Deadlines {
  readonly #dues = new Set<Due>();
  #timer: NodeJS.Timeout | undefined;

  add(due: Due): void {
    this.#dues.add(due);
    this.#timer ??= setInterval(() => this.#sweep(), sweepMs);
  }

  delete(due: Due): void {
    this.#dues.delete(due);
  }

  /** Ends the timer at once instead of at the next look. */
  close(): void {
    this.#dues.clear();
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #sweep(): void {
    if (this.#dues.size === 0) {
      this.close();
      return;
    }
    const now = performance.now();
    for (const due of this.#dues) {
      if (due.dueMs > now) continue;
      this.#dues.delete(due);
      due.onDue();
    }
  }
}
