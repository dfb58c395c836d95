import { decodeConfiguration } from './configuration_codec.ts';
import { ConfigurationHistory } from './configuration.ts';
import { invariant } from './invariant.ts';
import type { SafetyRules } from './rules.ts';
import type { Configuration, Entry, LogIndex, SnapshotMeta, Term } from './types.ts';

/**
 * The replicated log and how far each stage has got with it:
 *
 * ```
 *   base <= applied <= applying <= commit
 *           applying <= durable <= handed <= last
 * ```
 *
 * `base` is the last compacted index; `applying` was handed over to be applied, `handed` to be persisted. While a received
 * snapshot is being installed, base and commit are its index already and `applied` and `durable` lag behind.
 */
export class RaftLog {
  readonly #rules: SafetyRules;
  #base: { readonly index: LogIndex; readonly term: Term };
  /** `#entries[i].index === #base.index + 1 + i` */
  #entries: Entry[];
  #configurations: ConfigurationHistory;
  #commit: LogIndex;
  #applied: LogIndex;
  #applying: LogIndex;
  #handed: LogIndex;
  #durable: LogIndex;
  /** Index of a received snapshot that is not durable yet; 0 for none. */
  #installing: LogIndex = 0;
  /** A received snapshot that was not handed over yet. */
  #pendingSnapshot: SnapshotMeta | undefined;

  constructor(
    retained: { snapshot: SnapshotMeta; entries: readonly Entry[] },
    options: { commit: LogIndex; applied: LogIndex; rules: SafetyRules },
  ) {
    const { snapshot, entries } = retained;
    this.#rules = options.rules;
    this.#base = { index: snapshot.index, term: snapshot.term };
    this.#entries = [];
    this.#configurations = new ConfigurationHistory(snapshot.index, snapshot.configuration);
    for (const entry of entries) this.#push(entry);
    this.#applied = this.#applying = options.applied;
    this.#handed = this.#durable = this.lastIndex;
    // Commit is volatile in Raft; what was applied was committed, so the greater of the two holds.
    this.#commit = Math.max(options.commit, options.applied);
    invariant(
      options.applied >= snapshot.index,
      `applied ${options.applied} is behind the log's base ${snapshot.index}`,
    );
    invariant(
      this.#commit <= this.lastIndex,
      `commit ${this.#commit} is beyond the log's end ${this.lastIndex}`,
    );
  }

  get baseIndex(): LogIndex {
    return this.#base.index;
  }
  get lastIndex(): LogIndex {
    return this.#base.index + this.#entries.length;
  }
  get lastTerm(): Term {
    return this.#entries.at(-1)?.term ?? this.#base.term;
  }
  get commit(): LogIndex {
    return this.#commit;
  }
  get applied(): LogIndex {
    return this.#applied;
  }
  get durable(): LogIndex {
    return this.#durable;
  }
  get configuration(): Configuration {
    return this.#configurations.current;
  }
  /** Where the configuration in force was appended. */
  get configurationIndex(): LogIndex {
    return this.#configurations.index;
  }

  /** Undefined outside [base, last]. */
  termAt(index: LogIndex): Term | undefined {
    if (index === this.#base.index) return this.#base.term;
    return this.#entries[index - this.#base.index - 1]?.term;
  }

  entryAt(index: LogIndex): Entry | undefined {
    return index <= this.#base.index ? undefined : this.#entries[index - this.#base.index - 1];
  }

  snapshotAt(index: LogIndex): SnapshotMeta {
    const term = this.termAt(index);
    invariant(term !== undefined && index <= this.#commit, `no snapshot can be at ${index}`);
    return { index, term, configuration: this.#configurations.at(index) };
  }

  /** Entries from `from` (above base) on, at least one if there is one, else at most `maxBytes` of data. */
  slice(from: LogIndex, limit: { to?: LogIndex; maxBytes: number }): Entry[] {
    invariant(from > this.#base.index, `entry ${from} was compacted`);
    const end = Math.min(limit.to ?? this.lastIndex, this.lastIndex) - this.#base.index;
    const start = from - this.#base.index - 1;
    let bytes = 0;
    let at = start;
    for (; at < end; at++) {
      bytes += this.#entries[at]?.data.length ?? 0;
      if (bytes > limit.maxBytes && at > start) break;
    }
    return this.#entries.slice(start, at);
  }

  /** The leader's way: behind the end. */
  append(entry: Entry): void {
    invariant(
      entry.index === this.lastIndex + 1 && entry.term >= this.lastTerm,
      'an appended entry follows the last',
    );
    this.#push(entry);
  }

  /**
   * The follower's way (paper figure 2, AppendEntries 2-4). Entries at or below the base are skipped.
   * @returns whether `prev` matched. If so everything up to `prev.index + entries.length` equals the sender's log now, and
   * `keptIndex` is there when entries behind it were cut off.
   */
  merge(
    prev: { index: LogIndex; term: Term },
    entries: readonly Entry[],
  ): { matched: boolean; keptIndex?: LogIndex } {
    if (prev.index < this.#base.index) {
      if (!this.#rules.compactedPrevMatches()) return { matched: false };
    } else if (this.termAt(prev.index) !== prev.term) {
      return { matched: false };
    }
    let keptIndex: LogIndex | undefined;
    for (const entry of entries) {
      if (entry.index <= this.#base.index) continue;
      const own = this.termAt(entry.index);
      if (own !== undefined) {
        if (!this.#rules.conflicts(own, entry.term)) continue;
        keptIndex = entry.index - 1;
        this.#truncate(keptIndex);
      }
      this.append(entry);
    }
    return keptIndex === undefined ? { matched: true } : { matched: true, keptIndex };
  }

  /** The largest index at or below `index` whose term is at most `term`; its term is 0 when compaction has forgotten it. */
  lastAtMost(index: LogIndex, term: Term): { index: LogIndex; term: Term } {
    let at = Math.min(index, this.lastIndex);
    while (at > this.#base.index && (this.termAt(at) ?? 0) > term) at--;
    return { index: at, term: this.termAt(at) ?? 0 };
  }

  commitTo(index: LogIndex): boolean {
    if (index <= this.#commit) return false;
    invariant(index <= this.lastIndex, `commit ${index} is beyond the log's end ${this.lastIndex}`);
    this.#commit = index;
    return true;
  }

  /** Replaces the whole log by a received snapshot: it lies beyond commit and the log doesn't hold its last entry. */
  reset(meta: SnapshotMeta): { keptIndex: LogIndex } {
    invariant(meta.index > this.#commit, `snapshot ${meta.index} is not beyond commit ${this.#commit}`);
    // What was committed stays durable in the state machine; nothing behind it is to be counted on.
    const keptIndex = this.#commit;
    this.#durable = Math.min(this.#durable, keptIndex);
    const configuration = this.#rules.configurationOfSnapshot(meta.configuration, this.configuration);
    this.#base = { index: meta.index, term: meta.term };
    this.#entries = [];
    this.#configurations = new ConfigurationHistory(meta.index, configuration);
    this.#commit = this.#applying = this.#handed = this.#installing = meta.index;
    this.#pendingSnapshot = { ...meta, configuration };
    return { keptIndex };
  }

  compact(index: LogIndex): void {
    if (index <= this.#base.index) return;
    invariant(index <= this.#applied, `compacting ${index} beyond applied ${this.#applied}`);
    const term = this.termAt(index);
    invariant(term !== undefined, 'applied entries are in the log');
    this.#entries.splice(0, index - this.#base.index);
    this.#base = { index, term };
    this.#configurations.compact(index);
  }

  /** Whether there is something to persist that was not handed over. */
  get hasUnhanded(): boolean {
    return this.#pendingSnapshot !== undefined || this.#handed < this.lastIndex;
  }

  /** What is to be persisted and was not handed over yet. */
  takeUnhanded(): { snapshot: SnapshotMeta | undefined; entries: readonly Entry[] } {
    const snapshot = this.#pendingSnapshot;
    this.#pendingSnapshot = undefined;
    const entries = this.#handed < this.lastIndex ? this.#entries.slice(this.#handed - this.#base.index) : [];
    this.#handed = this.lastIndex;
    return { snapshot, entries };
  }

  /** A write that ended at `index` (lowered by truncations since) is durable. */
  persisted(index: LogIndex): void {
    invariant(index <= this.lastIndex, `durable ${index} is beyond the log's end ${this.lastIndex}`);
    if (index > this.#durable) this.#durable = index;
  }

  /** The snapshot at `index` is durable and is the state now. */
  installed(index: LogIndex): void {
    this.#applied = Math.max(this.#applied, index);
    this.#durable = Math.max(this.#durable, index);
    if (this.#installing === index) this.#installing = 0;
  }

  /** Where the next `takeCommitted` would end. One round at a time: the next is as long as what came in meanwhile. */
  get #applicable(): LogIndex {
    if (this.#installing !== 0 || this.#applied !== this.#applying) return this.#applying;
    return Math.min(this.#commit, this.#durable);
  }

  get hasCommitted(): boolean {
    return this.#applicable > this.#applying;
  }

  takeCommitted(maxBytes: number): readonly Entry[] {
    const to = this.#applicable;
    if (to <= this.#applying) return [];
    const entries = this.slice(this.#applying + 1, { to, maxBytes });
    this.#applying += entries.length;
    return entries;
  }

  appliedTo(index: LogIndex): void {
    if (index <= this.#applied) return;
    invariant(index <= this.#applying, `applied ${index} was not handed over (${this.#applying})`);
    // Below the base only a round that a snapshot has overtaken can report; installed() says what holds.
    if (index >= this.#base.index) this.#applied = index;
  }

  #truncate(kept: LogIndex): void {
    invariant(kept >= this.#commit, `truncating at ${kept + 1}, at or below commit ${this.#commit}`);
    this.#entries.length = kept - this.#base.index;
    if (this.#rules.rollsBackConfiguration()) this.#configurations.truncate(kept);
    this.#handed = Math.min(this.#handed, kept);
    this.#durable = this.#rules.durableAfterTruncation(this.#durable, kept);
  }

  #push(entry: Entry): void {
    invariant(
      entry.index === this.lastIndex + 1,
      `entry ${entry.index} leaves a gap behind ${this.lastIndex}`,
    );
    invariant(entry.term >= this.lastTerm, `entry ${entry.index} goes back in term`);
    if (entry.type === 'config') this.#configurations.append(entry.index, decodeConfiguration(entry.data));
    this.#entries.push(entry);
  }
}
