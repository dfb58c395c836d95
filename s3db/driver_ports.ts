import type { Entry, HardState, Message, ReplicaId, SnapshotMeta } from './raft/types.ts';
import type { Outcome } from './request_memory.ts';

/** Where a replica keeps its log. After a rejection nothing more may be asked of it: the replica must stop. */
export interface RaftStorage {
  /**
   * Hard state, then entries; those at and behind `entries[0].index` are cut off first. Durable when it resolves.
   * Calls may overlap; they take effect in the order in which they were made, and one fdatasync may cover several.
   */
  append(batch: { readonly hardState?: HardState; readonly entries: readonly Entry[] }): Promise<void>;
  /** The log starts anew behind a snapshot that has become the state. */
  restart(snapshot: SnapshotMeta, hardState?: HardState): Promise<void>;
  /** What lies at and before the index is no longer needed. Frees whole segments, so it may keep more. */
  compact(upTo: SnapshotMeta): Promise<void>;
}

/** Called for each command of a round, in order, once its outcome is certain: its entry is committed. */
export type OnOutcome = (entry: Entry, outcome: Outcome) => void;

/** What committed entries are applied to. After a rejection the replica must stop. */
export interface AppliedState {
  /** What is durable. */
  readonly applied: { readonly index: number; readonly term: number };
  apply(entries: readonly Entry[], onOutcome: OnOutcome): Promise<void>;
  /** A staged snapshot becomes the state, durably. Nothing is being applied meanwhile. */
  install(snapshot: SnapshotMeta): Promise<void>;
}

/** How messages reach other replicas. Sending never waits and never fails: what can't be sent is lost. */
export interface RaftNetwork {
  send(message: Message): void;
  /**
   * Streams the state machine's snapshot, at an applied index not below `meta.index`, to a member, which stages it
   * and takes it in as a `snapshot` message. Settles within a deadline of its own: whether that happened.
   */
  sendSnapshot(message: Extract<Message, { type: 'snapshot' }>): Promise<boolean>;
  /** Members that may be reached again after silence, or not: a hint for the core. */
  onUnreachable?(listener: (peer: ReplicaId) => void): void;
}

/** Time and turns, so that a simulator can own both. */
export interface DriverClock {
  /** Milliseconds from any origin, never going back. */
  monotonicMs(): number;
  /** Calls `tick` every `intervalMs` until what it returned is called. */
  every(intervalMs: number, tick: () => void): () => void;
  /** Once, after the events that are ready now: what they bring goes into one batch. */
  soon(run: () => void): void;
  /** Once, after the event that is being handled. */
  next(run: () => void): void;
}
