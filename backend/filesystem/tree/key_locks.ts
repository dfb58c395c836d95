/** One at a time for each key, in the order in which they came. */
export class KeyLocks {
  readonly #tails = new Map<string, Promise<void>>();

  async run<Result>(key: string, work: () => Promise<Result>): Promise<Result> {
    const before = this.#tails.get(key) ?? Promise.resolve();
    const running = before.then(work);
    // Whoever waits behind is not concerned with how this ends.
    const tail = running.then(nothing, nothing);
    this.#tails.set(key, tail);
    try {
      return await running;
    } finally {
      if (this.#tails.get(key) === tail) this.#tails.delete(key);
    }
  }
}

function nothing(): void {
  // Only the end counts.
}
