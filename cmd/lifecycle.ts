import type { Logger } from './logger.ts';

/** What was started and must be stopped, in reverse order. */
export class Lifecycle {
  readonly #closers: { readonly name: string; readonly close: () => Promise<void> }[] = [];
  readonly #logger: Logger;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** Registers what closes a part that has just been opened. */
  add(name: string, close: () => Promise<void>): void {
    this.#closers.push({ name, close });
  }

  /**
   * Closes everything, last opened first. A part that fails or takes longer than `limitMs` (of all that is left) is
   * logged and passed over: the parts below it still get their chance to flush.
   * @returns whether all closed cleanly.
   */
  async close(limitMs: number): Promise<boolean> {
    const deadline = performance.now() + limitMs;
    let clean = true;
    for (const { name, close } of this.#closers.splice(0).reverse()) {
      const started = performance.now();
      // Each part gets at least a second, so that a stuck one can't starve the logs below it of their flush.
      const ms = Math.max(1000, deadline - started);
      try {
        await within(close(), ms);
        this.#logger.debug({ part: name, ms: Math.round(performance.now() - started) }, 'closed');
      } catch (error) {
        clean = false;
        this.#logger.error({ part: name, err: error }, 'did not close cleanly');
      }
    }
    return clean;
  }
}

async function within(work: Promise<void>, limitMs: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`took longer than ${Math.round(limitMs)} ms`)), limitMs);
  });
  try {
    await Promise.race([work, timeout]);
  } finally {
    clearTimeout(timer);
  }
}
