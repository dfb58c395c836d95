import { reconcileLog } from '../../s3db/raft/reconcile.ts';
import type { RetainedLog } from '../../s3db/raft/reconcile.ts';
import type { Entry, HardState, LogIndex, SnapshotMeta, Term } from '../../s3db/raft/types.ts';
import { Machine } from './machine.ts';
import type { Random } from './random.ts';

export type LogRecord =
  | { readonly kind: 'hardState'; readonly hardState: HardState }
  /** Cuts the log off at its index first. */
  | { readonly kind: 'entry'; readonly entry: Entry }
  | { readonly kind: 'restart'; readonly snapshot: SnapshotMeta };

/**
 * A replica's disk: a log of records whose CRCs are chained, so that a crash leaves all that was synced and some prefix of the rest; and
 * a state machine whose every change is atomic and synced.
 */
export class Disk {
  hardState: HardState = { term: 0, vote: 0n, commit: 0 };
  snapshot: SnapshotMeta;
  /** Contiguous behind `snapshot`. */
  entries: Entry[] = [];
  machine: Machine;
  /** Lost or found to be damaged: the replica must not start from it. */
  destroyed = false;
  #unsynced: LogRecord[] = [];

  constructor(snapshot: SnapshotMeta) {
    this.snapshot = snapshot;
    this.machine = this.newMachine(snapshot);
  }

  protected newMachine(snapshot: SnapshotMeta): Machine {
    return new Machine(snapshot);
  }

  /** The last durable index of the log. */
  get lastIndex(): LogIndex {
    return this.snapshot.index + this.entries.length;
  }

  /** Of a durable entry. */
  termAt(index: LogIndex): Term | undefined {
    if (index === this.snapshot.index) return this.snapshot.term;
    return this.entries[index - this.snapshot.index - 1]?.term;
  }

  write(hardState: HardState | undefined, entries: readonly Entry[], restart?: SnapshotMeta): void {
    if (hardState !== undefined) this.#unsynced.push({ kind: 'hardState', hardState });
    if (restart !== undefined) this.#unsynced.push({ kind: 'restart', snapshot: restart });
    for (const entry of entries) this.#unsynced.push({ kind: 'entry', entry });
  }

  /** Everything written so far. */
  get written(): number {
    return this.#unsynced.length;
  }

  /** A sync that began when `count` records were written has ended. */
  synced(count: number): void {
    for (const record of this.#unsynced.splice(0, count)) this.#keep(record);
  }

  crash(random: Random): void {
    for (const record of this.survivors(this.#unsynced, random)) this.#keep(record);
    this.#unsynced = [];
  }

  protected survivors(unsynced: readonly LogRecord[], random: Random): readonly LogRecord[] {
    return unsynced.slice(0, random.between(0, unsynced.length));
  }

  /** What a replica starts with. */
  recover(): { log: RetainedLog; hardState: HardState; applied: LogIndex } {
    const { snapshot, entries, machine } = this;
    const log = this.reconcile({ snapshot, entries }, machine.meta);
    this.snapshot = log.snapshot;
    this.entries = [...log.entries];
    return { log, hardState: this.hardState, applied: machine.index };
  }

  protected reconcile(log: RetainedLog, state: SnapshotMeta): RetainedLog {
    return reconcileLog(log, state);
  }

  compact(upTo: SnapshotMeta): void {
    if (upTo.index <= this.snapshot.index) return;
    this.entries.splice(0, upTo.index - this.snapshot.index);
    this.snapshot = upTo;
  }

  #keep(record: LogRecord): void {
    switch (record.kind) {
      case 'hardState':
        this.hardState = record.hardState;
        return;
      case 'restart':
        this.snapshot = record.snapshot;
        this.entries = [];
        return;
      case 'entry':
        this.keepEntry(record.entry);
        return;
    }
  }

  protected keepEntry(entry: Entry): void {
    // At or below the base: it was compacted meanwhile.
    const at = entry.index - this.snapshot.index - 1;
    if (at < 0) return;
    if (at > this.entries.length) throw new Error(`entry ${entry.index} is written behind a hole`);
    this.entries.length = at;
    this.entries.push(entry);
  }
}
