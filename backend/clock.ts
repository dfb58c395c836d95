/** Wall clock and timers. */
export interface Clock {
  /** Milliseconds since 1970. */
  nowMs(): number;
  /** Milliseconds of a clock that never steps. */
  monotonicMs(): number;
  /** Calls back once after `delayMs`; the result cancels it. Does not keep the process alive. */
  after(delayMs: number, callback: () => void): () => void;
}

/** The machine's clock. */
export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  after: (delayMs, callback) => {
    const timer = setTimeout(callback, delayMs);
    timer.unref();
    return () => {
      clearTimeout(timer);
    };
  },
};

/** Resolves after `ms`, or as soon as the signal aborts. */
export function sleep(
  ms: number,
  options: { readonly clock: Clock; readonly signal: AbortSignal },
): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      cancel();
      options.signal.removeEventListener('abort', done);
      resolve();
    };
    const cancel = options.clock.after(ms, done);
    options.signal.addEventListener('abort', done);
    if (options.signal.aborted) done();
  });
}
