import type { Entry } from './raft/types.ts';

/** How much of the log stays behind what is applied, for followers that lag. Compaction begins at twice that. */
export interface Retention {
  readonly entries: number;
  readonly bytes: number;
}

/** What of an entry is not its data, in memory and in the log. */
const entryOverheadBytes = 100;

/** The sizes of the entries that the log retains, to decide up to where it is compacted. */
export class RetainedSizes {
  #base: number;
  #sizes: number[] = [];
  #bytes = 0;

  /** @param base the index before the first entry. */
  constructor(base: number) {
    this.#base = base;
  }

  append(entries: readonly Entry[]): void {
    const [first] = entries;
    if (first === undefined) return;
    while (this.#base + this.#sizes.length >= first.index) this.#bytes -= this.#sizes.pop() ?? 0;
    for (const entry of entries) {
      const size = entry.data.length + entryOverheadBytes;
      this.#sizes.push(size);
      this.#bytes += size;
    }
  }

  restart(base: number): void {
    this.#base = base;
    this.#sizes = [];
    this.#bytes = 0;
  }

  compact(upTo: number): void {
    const dropped = this.#sizes.splice(0, upTo - this.#base);
    for (const size of dropped) this.#bytes -= size;
    this.#base = upTo;
  }

  /** Undefined while the log holds less than twice what is to stay. Never beyond `applied`. */
  compactionPoint(applied: number, retention: Retention): number | undefined {
    const tooMany = this.#sizes.length > 2 * retention.entries;
    if (!tooMany && this.#bytes <= 2 * retention.bytes) return undefined;
    let upTo = this.#base;
    let bytes = this.#bytes;
    let count = this.#sizes.length;
    while (upTo < applied && (count > retention.entries || bytes > retention.bytes)) {
      bytes -= this.#sizes[upTo - this.#base] ?? 0;
      count--;
      upTo++;
    }
    return upTo > this.#base ? upTo : undefined;
  }
}
