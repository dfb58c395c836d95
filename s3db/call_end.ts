/** When a call is over: at its deadline, or as soon as one of the signals says so. */
export class CallEnd {
  readonly #deadlineMs: number;
  readonly #signals: readonly AbortSignal[];
  readonly #timer: NodeJS.Timeout;
  readonly #wakers = new Set<() => void>();
  readonly #onAbort = (): void => this.#wakeAll();

  constructor(timeoutMs: number, signals: readonly AbortSignal[]) {
    this.#deadlineMs = performance.now() + timeoutMs;
    this.#signals = signals;
    this.#timer = setTimeout(() => this.#wakeAll(), timeoutMs);
    for (const signal of signals) signal.addEventListener('abort', this.#onAbort);
  }

  get cancelled(): boolean {
    return this.#signals.some((signal) => signal.aborted);
  }

  leftMs(): number {
    return this.#deadlineMs - performance.now();
  }

  throwIfCancelled(): void {
    for (const signal of this.#signals) signal.throwIfAborted();
  }

  /** Aborted with the call, or by whoever holds it. */
  branch(): AbortController {
    const controller = new AbortController();
    const wake = (): void => controller.abort(callOver);
    if (this.cancelled || this.leftMs() <= 0) wake();
    else this.#wakers.add(wake);
    return controller;
  }

  /** Shorter when the call ends. */
  async pause(ms: number): Promise<void> {
    if (ms <= 0 || this.cancelled) return;
    await new Promise<void>((resolve) => {
      const wake = (): void => {
        clearTimeout(timer);
        this.#wakers.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, ms);
      this.#wakers.add(wake);
    });
  }

  /** Must be called once the call has settled. */
  release(): void {
    clearTimeout(this.#timer);
    for (const signal of this.#signals) signal.removeEventListener('abort', this.#onAbort);
    this.#wakers.clear();
  }

  #wakeAll(): void {
    for (const wake of [...this.#wakers]) wake();
    this.#wakers.clear();
  }
}

const callOver = new Error('the deadline passed or the call was given up');
