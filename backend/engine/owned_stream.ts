/**
 * A stream that owns something (an open file, another stream) and gives it back exactly once: at its end, when it
 * throws, or when its reader returns, even before the first byte was asked for (where a generator's `finally` would
 * not run).
 */
export class OwnedStream implements AsyncIterableIterator<Uint8Array> {
  readonly #source: AsyncIterator<Uint8Array>;
  readonly #release: () => Promise<void>;
  #ended = false;

  constructor(source: AsyncIterable<Uint8Array>, release: () => Promise<void>) {
    this.#source = source[Symbol.asyncIterator]();
    this.#release = release;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<Uint8Array>> {
    if (this.#ended) return { done: true, value: undefined };
    let result: IteratorResult<Uint8Array, unknown>;
    try {
      result = await this.#source.next();
    } catch (error) {
      await this.#end();
      throw error;
    }
    if (result.done !== true) return result;
    await this.#end();
    return { done: true, value: undefined };
  }

  async return(): Promise<IteratorResult<Uint8Array>> {
    if (!this.#ended) {
      try {
        await this.#source.return?.();
      } finally {
        await this.#end();
      }
    }
    return { done: true, value: undefined };
  }

  async #end(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    await this.#release();
  }
}

/** Tells a stream that nothing more will be read of it. */
export async function endStream(stream: AsyncIterable<Uint8Array>): Promise<void> {
  await stream[Symbol.asyncIterator]().return?.();
}
