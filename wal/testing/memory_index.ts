import type { IndexOperation, IndexStorage } from '../index_storage.ts';

/** An `IndexStorage` whose contents outlive its closing, as a disk's would. Give the same map to the next one. */
export class MemoryIndex implements IndexStorage {
  readonly #values: Map<string, Uint8Array>;
  /** Carries a change out, or refuses it, or both. */
  readonly #change: (apply: () => void) => Promise<void>;

  constructor(values: Map<string, Uint8Array>, change: (apply: () => void) => Promise<void>) {
    this.#values = values;
    this.#change = change;
  }

  get(key: Uint8Array): Uint8Array | undefined {
    return this.#values.get(Buffer.from(key).toString('latin1'));
  }

  async write(operations: readonly IndexOperation[]): Promise<void> {
    await this.#change(() => {
      for (const { key, value } of operations) {
        const name = Buffer.from(key).toString('latin1');
        if (value === undefined) this.#values.delete(name);
        else this.#values.set(name, Buffer.from(value));
      }
    });
  }

  async *entries(range: {
    readonly from: Uint8Array;
    readonly to: Uint8Array;
  }): AsyncGenerator<readonly [Uint8Array, Uint8Array]> {
    const from = Buffer.from(range.from).toString('latin1');
    const to = Buffer.from(range.to).toString('latin1');
    const found = [...this.#values].filter(([name]) => name >= from && name < to);
    for (const [name, value] of found.sort(([a], [b]) => (a < b ? -1 : 1)))
      yield [Buffer.from(name, 'latin1'), value];
  }

  async clear(): Promise<void> {
    await this.#change(() => this.#values.clear());
  }

  destroy(): Promise<void> {
    return this.clear();
  }

  async close(): Promise<void> {
    await Promise.resolve();
  }
}
