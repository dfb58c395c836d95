import type {
  ConfigurationChange,
  ConfigurationRefusal,
  Entry,
  HardState,
  LogIndex,
  Message,
  ProposalRefusal,
  Proposed,
  Ready,
  ReplicaId,
  SnapshotMeta,
  Status,
  Term,
  TransferRefusal,
} from './types.ts';

export interface RaftOptions {
  readonly id: ReplicaId;
  /** As last persisted; `{ term: 0, vote: 0n, commit: 0 }` on a first boot. */
  readonly hardState: HardState;
  readonly log: {
    /**
     * What lies before the first retained entry. On a first boot index 0, term 0 and the cluster's first voters, or an
     * empty configuration for a replica that joins.
     */
    readonly snapshot: SnapshotMeta;
    /** All retained entries, contiguous from `snapshot.index + 1`. All of them durable. */
    readonly entries: readonly Entry[];
  };
  /** What the state machine durably holds: `log.snapshot.index <= applied <= ` last index of the log. */
  readonly applied: LogIndex;
  /**
   * The minimum election timeout in ticks; the real one is drawn from [electionTicks, 2 * electionTicks) each time. Also
   * the window in which a leader must hear a quorum, and in which votes are refused after contact with a leader.
   */
  readonly electionTicks: number;
  /** Below electionTicks / 2. */
  readonly heartbeatTicks: number;
  /** Appends under way to one follower before its acknowledgements are awaited. */
  readonly maxInflightMessages: number;
  /** Entry bytes in one append; an entry bigger than that goes alone. Also the bound of `Ready.committed`. */
  readonly maxMessageBytes: number;
  /** Proposals are refused as `overloaded` beyond this. One proposal is always let in when nothing else waits. */
  readonly maxUncommittedBytes: number;
  /** Uniform in [0, 1): election timeouts and the freshness of read nonces. */
  readonly random: () => number;
}

/**
 * One Raft replica as a pure state machine: no I/O, no clock, no promise. After every call that may have changed
 * something (all but `status`, `snapshotAt`), ask `hasReady()`.
 *
 * Sources: Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm" (extended version), and Ongaro's
 * thesis "Consensus: Bridging Theory and Practice"; sections are cited where their rules stand.
 */
export class RaftCore {
  /** @throws InvariantError when the options contradict each other. */
  constructor(options: RaftOptions) {
    void options;
  }

  /** The driver's clock: one tick is its time unit for elections and heartbeats. */
  tick(): void {
    throw new Error('not there yet');
  }

  /**
   * Takes in a message from a peer. Messages may be lost, duplicated, delayed and reordered at will; those for another id
   * are ignored. A `snapshot` message is given only once the whole snapshot is staged and verified; its `meta` must be
   * what was really staged, which may be newer than what the leader's core asked for.
   */
  step(message: Message): void {
    void message;
    throw new Error('not there yet');
  }

  /** Appends a command to the leader's log. */
  propose(data: Uint8Array): Proposed | ProposalRefusal {
    void data;
    throw new Error('not there yet');
  }

  /** Appends several commands, all or none, contiguous; the answer is where the first went. At least one. */
  proposeAll(commands: readonly Uint8Array[]): Proposed | ProposalRefusal {
    void commands;
    throw new Error('not there yet');
  }

  /** Appends a change of one member; it is in force from that moment (thesis 4.1). */
  proposeConfiguration(change: ConfigurationChange): Proposed | ConfigurationRefusal {
    void change;
    throw new Error('not there yet');
  }

  /**
   * Asks for an index that covers every write acknowledged anywhere before this call. The answer comes in
   * `Ready.readStates`, exactly once for each call: `ok` with the index, or not ok when there is no leader, the
   * leader changed, too many reads wait, or nothing came back within two election timeouts. Works on followers and learners, which
   * ask the leader. `requestId` is the driver's, unique among its outstanding reads.
   */
  readIndex(requestId: number): void {
    void requestId;
    throw new Error('not there yet');
  }

  /**
   * Hands leadership to a voter (thesis 3.10). Proposals are `overloaded` meanwhile. It is given up after an
   * election timeout. Success shows as a change of `status().leader`.
   */
  transferLeadership(to: ReplicaId): 'started' | TransferRefusal {
    void to;
    throw new Error('not there yet');
  }

  /** Whether `ready()` would hand over anything. */
  hasReady(): boolean {
    throw new Error('not there yet');
  }

  /**
   * Hands over a batch and marks it in progress: nothing of it is handed over again. The next batch may be taken while
   * this one is being persisted and applied (at most 64 with a `persist` marker under way). The rules:
   *
   * 1. Batches are persisted in the order in which they were taken. Within one: hard state, then snapshot, then entries. Before
   *    the entries are appended, everything in the durable log from `entries[0].index` on is cut off. One fdatasync may
   *    cover several batches.
   * 2. `messages` may leave at once. `afterPersist` leaves only when this batch and every earlier one are durable, also
   *    when this batch itself has nothing to persist.
   * 3. `persisted(persist.term, persist.index)` is called once for each batch that has `persist`, in order, when it is durable.
   * 4. `committed` is applied in order. These entries are durable already, so it need not wait for rule 3. `applied(last index)` is
   *    called when the state machine holds them durably; until then no further `committed` is handed over.
   * 5. `snapshot`: applying is brought to an end first, then the staged snapshot becomes state and the log starts anew behind it,
   *    durably, then rule 3. The core counts it as applied at `persisted`. No `committed` is handed over meanwhile.
   * 6. An outgoing `snapshot` message is a request to the driver: stream the state machine's snapshot, at any applied index not
   *    below `meta.index`, to that member and report with `snapshotStatus`, always and within a deadline.
   * 7. When anything fails to be persisted, the core is thrown away: there is no way to take a batch back.
   */
  ready(): Ready {
    throw new Error('not there yet');
  }

  /** The oldest batch in progress that has a `persist` marker is durable. @throws InvariantError if it isn't that marker. */
  persisted(term: Term, index: LogIndex): void {
    void term;
    void index;
    throw new Error('not there yet');
  }

  /** The state machine durably holds everything up to `index`. Indexes below a snapshot installed since are ignored. */
  applied(index: LogIndex): void {
    void index;
    throw new Error('not there yet');
  }

  /** Drops retained entries up to and with `index` (at most applied). The configuration and term at it are kept. */
  compact(index: LogIndex): void {
    void index;
    throw new Error('not there yet');
  }

  /** Term and configuration at `index`, which lies between the compacted index and commit: what a snapshot taken there must say. */
  snapshotAt(index: LogIndex): SnapshotMeta {
    void index;
    throw new Error('not there yet');
  }

  /**
   * How the sending of a snapshot asked for by an outgoing `snapshot` message ended: `sent` when the receiver has staged it
   * and its core was given the message, `failed` otherwise (the receiver is asked again after its next sign of life).
   */
  snapshotStatus(to: ReplicaId, outcome: 'sent' | 'failed'): void {
    void to;
    void outcome;
    throw new Error('not there yet');
  }

  /** The link to a peer broke: what was under way to it is taken for lost. A hint; nothing depends on it. */
  unreachable(peer: ReplicaId): void {
    void peer;
    throw new Error('not there yet');
  }

  status(): Status {
    throw new Error('not there yet');
  }
}
