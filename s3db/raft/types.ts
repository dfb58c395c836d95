/** The vocabulary of the Raft core: what goes in, what comes out. All of it plain data. */

/** A replica's identity: a random 63-bit incarnation minted with its directory, never reused. */
export type ReplicaId = bigint;
export type Term = number;
export type LogIndex = number;

export interface Entry {
  readonly term: Term;
  readonly index: LogIndex;
  /** `noop`: a new leader's first entry; `config`: an encoded Configuration; `command`: the state machine's. */
  readonly type: 'noop' | 'config' | 'command';
  readonly data: Uint8Array;
}

/** Effective when appended, rolled back with truncation. One change in flight. */
export interface Configuration {
  readonly voters: readonly ReplicaId[];
  readonly learners: readonly ReplicaId[];
  /** Ids that were members once and must never be again. */
  readonly removed: readonly ReplicaId[];
}

/** One durable record: term and vote never part. `vote` 0n: none in this term. */
export interface HardState {
  readonly term: Term;
  readonly vote: ReplicaId;
  readonly commit: LogIndex;
}

export interface SnapshotMeta {
  readonly index: LogIndex;
  readonly term: Term;
  readonly configuration: Configuration;
}

interface Addressed {
  readonly from: ReplicaId;
  readonly to: ReplicaId;
  readonly term: Term;
}

export type Message =
  | (Addressed & {
      readonly type: 'preVote' | 'vote';
      readonly lastIndex: LogIndex;
      readonly lastTerm: Term;
      readonly transfer: boolean;
    })
  | (Addressed & { readonly type: 'preVoteReply' | 'voteReply'; readonly granted: boolean })
  | (Addressed & {
      readonly type: 'append';
      readonly prevIndex: LogIndex;
      readonly prevTerm: Term;
      readonly entries: readonly Entry[];
      readonly commit: LogIndex;
    })
  | (Addressed & {
      readonly type: 'appendReply';
      /** Whether prev matched; then `index` is the follower's durable match, never more than the message held. */
      readonly accepted: boolean;
      readonly index: LogIndex;
      /** On rejection: where the leader should look next (the first index of the conflicting term, or the end of the log). */
      readonly hintIndex: LogIndex;
      readonly hintTerm: Term;
    })
  | (Addressed & { readonly type: 'heartbeat'; readonly commit: LogIndex; readonly nonce: number })
  | (Addressed & { readonly type: 'heartbeatReply'; readonly nonce: number })
  | (Addressed & { readonly type: 'snapshot'; readonly meta: SnapshotMeta })
  | (Addressed & { readonly type: 'readIndex'; readonly requestId: number })
  | (Addressed & {
      readonly type: 'readIndexReply';
      readonly requestId: number;
      readonly index: LogIndex;
      readonly ok: boolean;
    })
  | (Addressed & { readonly type: 'timeoutNow' });

/** A read may be answered once applied >= index. `ok: false`: there was no leader to ask; try again. */
export interface ReadState {
  readonly requestId: number;
  readonly index: LogIndex;
  readonly ok: boolean;
}

/** One read-only batch of work for the driver. */
export interface Ready {
  /** Durable before `afterPersist` leaves. */
  readonly hardState?: HardState;
  /** Append these; a conflict truncates first. Durable before `afterPersist` leaves. */
  readonly entries: readonly Entry[];
  /** A received snapshot to install, staged, before anything else of this batch. */
  readonly snapshot?: SnapshotMeta;
  /** May leave now: a leader sends entries while it writes its own log. */
  readonly messages: readonly Message[];
  /** Votes and acknowledgements, also the leader's own. */
  readonly afterPersist: readonly Message[];
  readonly committed: readonly Entry[];
  readonly readStates: readonly ReadState[];
}
