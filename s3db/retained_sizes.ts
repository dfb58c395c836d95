import type { Entry } from './raft/types.ts';

interface LogSize {
  readonly entries: number;
  readonly bytes: number;
}

/** How much of the log stays behind what is applied, for followers that lag. Compaction begins at twice that. */
export interface Retention extends LogSize {
  /**
   * What may stay while a follower is being sent a snapshot or catches up behind one: else the entries that follow its snapshot are gone
   * by the time it has it, and it needs another one, for as long as others write. Held in memory too. Default: 4 times as much.
   */
  readonly catchUp?: LogSize;
}

/** Of what is to stay: less than this isn't worth a compaction, which costs the same for one entry as for thousands. */
const leastShare = 1 / 4;
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

  /**
   * Undefined while the log holds less than twice what is to stay, or only a little of it could go. Never beyond `applied`.
   * @param neededBehind the last index that the follower furthest behind has; what follows stays as far as `catchUp`
   * allows. Asked only when the log is long enough: this is called for each round of entries.
   */
  compactionPoint(
    applied: number,
    retention: Retention,
    neededBehind: () => number = () => Infinity,
  ): number | undefined {
    const { catchUp = { entries: 4 * retention.entries, bytes: 4 * retention.bytes } } = retention;
    const tooMany = this.#sizes.length > 2 * retention.entries;
    if (!tooMany && this.#bytes <= 2 * retention.bytes) return undefined;
    const needed = neededBehind();
    let upTo = this.#base;
    let bytes = this.#bytes;
    let count = this.#sizes.length;
    while (upTo < applied) {
      const limit = upTo < needed ? retention : catchUp;
      if (count <= limit.entries && bytes <= limit.bytes) break;
      bytes -= this.#sizes[upTo - this.#base] ?? 0;
      count--;
      upTo++;
    }
    const worthIt =
      upTo - this.#base >= retention.entries * leastShare ||
      this.#bytes - bytes >= retention.bytes * leastShare;
    return worthIt ? upTo : undefined;
  }
}
