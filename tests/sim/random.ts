/** The only source of chance in a simulation: sfc32, seeded. The same seed gives the same numbers on every machine. */
export class Random {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  constructor(seed: number) {
    this.#a = seed >>> 0;
    this.#b = Math.floor(seed / 2 ** 32) >>> 0;
    this.#c = 0x9e3779b9;
    for (let i = 0; i < 12; i++) this.#next();
  }

  #next(): number {
    const t = (((this.#a + this.#b) | 0) + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + t;
    return t >>> 0;
  }

  /** [0, 1) */
  float(): number {
    return this.#next() / 2 ** 32;
  }

  /** An integer in [0, below). */
  below(below: number): number {
    return Math.floor(this.float() * below);
  }

  /** An integer in [from, to]. */
  between(from: number, to: number): number {
    return from + this.below(to - from + 1);
  }

  chance(probability: number): boolean {
    // Drawn even when it can't matter, so that settings of 0 don't shift what follows.
    return this.float() < probability;
  }

  /** Exponentially distributed around `mean`, at least 1. */
  around(mean: number): number {
    return Math.max(1, Math.round(-mean * Math.log(1 - this.float())));
  }

  pick<Item>(items: readonly Item[]): Item {
    const item = items[this.below(items.length)];
    if (item === undefined) throw new RangeError('nothing to pick from');
    return item;
  }

  shuffled<Item>(items: readonly Item[]): Item[] {
    const copy = [...items];
    for (let i = copy.length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      [copy[i], copy[j]] = [copy[j] as Item, copy[i] as Item];
    }
    return copy;
  }

  /** A generator of its own for a part, so that parts don't disturb each other's numbers. */
  fork(): Random {
    return new Random(this.#next() * 2 ** 20 + (this.#next() & 0xfffff));
  }
}
