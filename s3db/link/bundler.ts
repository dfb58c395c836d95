export interface BundlerOptions<Item> {
  /** Bundles under way; what comes meanwhile gathers for the next. */
  readonly maxInFlight: number;
  readonly maxItems: number;
  /** Of a bundle with more than one item. */
  readonly maxBytes: number;
  readonly sizeOf: (item: Item) => number;
  /** Whether it is still wanted; asked before it leaves. */
  readonly isWanted: (item: Item) => boolean;
  /** Must settle its items and not throw. */
  readonly send: (items: readonly Item[]) => Promise<void>;
}

/** Puts together what is asked for at the same time. One at a time leaves at once; many share the way. */
export class Bundler<Item> {
  readonly #options: BundlerOptions<Item>;
  #waiting: Item[] = [];
  #inFlight = 0;
  #planned = false;

  constructor(options: BundlerOptions<Item>) {
    this.#options = options;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  add(item: Item): void {
    this.#waiting.push(item);
    this.#plan();
  }

  /** Takes out what waits. */
  clear(): Item[] {
    const waiting = this.#waiting;
    this.#waiting = [];
    return waiting;
  }

  /** Behind what else this turn of the event loop brings. */
  #plan(): void {
    if (this.#planned || this.#inFlight >= this.#options.maxInFlight) return;
    this.#planned = true;
    setImmediate(() => {
      this.#planned = false;
      this.#flush();
    });
  }

  #flush(): void {
    const { maxInFlight, send } = this.#options;
    while (this.#inFlight < maxInFlight) {
      const bundle = this.#take();
      if (bundle.length === 0) return;
      this.#inFlight++;
      void send(bundle).finally(() => {
        this.#inFlight--;
        if (this.#waiting.length > 0) this.#plan();
      });
    }
  }

  #take(): Item[] {
    const { maxItems, maxBytes, sizeOf, isWanted } = this.#options;
    const bundle: Item[] = [];
    let bytes = 0;
    let taken = 0;
    for (const item of this.#waiting) {
      if (isWanted(item)) {
        bytes += sizeOf(item);
        if (bundle.length > 0 && (bundle.length >= maxItems || bytes > maxBytes)) break;
        bundle.push(item);
      }
      taken++;
    }
    this.#waiting = taken === this.#waiting.length ? [] : this.#waiting.slice(taken);
    return bundle;
  }
}
