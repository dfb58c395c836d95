/** The vocabulary of the Raft core: what goes in, what comes out. All of it plain data. */

/** A replica's identity: a random 63-bit incarnation minted with its directory, never reused. 0n is nobody. */
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
  /** Never more than what was durable in the log when the record was handed over; may lag behind. */
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
  /** The sender's term; of a `preVote` and a granted `preVoteReply`: the term that the election would be for. */
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
      /** Contiguous from prevIndex + 1. */
      readonly entries: readonly Entry[];
      readonly commit: LogIndex;
    })
  | (Addressed & {
      readonly type: 'appendReply';
      /** Whether prev matched. */
      readonly accepted: boolean;
      /** Accepted: the follower's durable match, never more than the message held. Rejected: the prevIndex that was refused. */
      readonly index: LogIndex;
      /**
       * On rejection: where the leader should look next, the largest index at or below prevIndex at which the follower's
       * term is at most prevTerm, and that term (0 when it is not known). Both 0 otherwise.
       */
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

/** One read-only batch of work for the driver. The rules of its handling stand at `RaftCore.ready`. */
export interface Ready {
  /** Durable before `afterPersist` leaves. */
  readonly hardState?: HardState;
  /** Append these; a conflict truncates first. Durable before `afterPersist` leaves. */
  readonly entries: readonly Entry[];
  /** A received snapshot to install, staged, before anything else of this batch. */
  readonly snapshot?: SnapshotMeta;
  /** What to give to `RaftCore.persisted` once this batch is durable. Absent: the batch has nothing to persist. */
  readonly persist?: PersistMarker;
  /** May leave now: a leader sends entries while it writes its own log. */
  readonly messages: readonly Message[];
  /** Votes, vote requests and acknowledgements: what promises that something is durable. */
  readonly afterPersist: readonly Message[];
  /** Apply these, in order. They are durable in this replica's own log already. */
  readonly committed: readonly Entry[];
  readonly readStates: readonly ReadState[];
}

/** The replica's term when the batch was taken and the last index of its log then. */
export interface PersistMarker {
  readonly term: Term;
  readonly index: LogIndex;
}

/** `follower` covers learners too; `status().configuration` tells them apart. */
export type Role = 'follower' | 'preCandidate' | 'candidate' | 'leader';

/** What a leader knows of one member. */
export interface ProgressStatus {
  readonly id: ReplicaId;
  /** The highest index known to be durable there and equal to the leader's. */
  readonly match: LogIndex;
  readonly next: LogIndex;
  readonly state: 'probe' | 'replicate' | 'snapshot';
  /** Of the snapshot that is on its way to it; 0: none is. */
  readonly snapshotIndex: LogIndex;
  /** Heard from since the last check-quorum round began. */
  readonly active: boolean;
  /** Heard from in that round or the one before. */
  readonly live: boolean;
  readonly learner: boolean;
  readonly inflightMessages: number;
}

export interface Status {
  readonly id: ReplicaId;
  readonly role: Role;
  readonly term: Term;
  readonly vote: ReplicaId;
  /** 0n: none known. */
  readonly leader: ReplicaId;
  readonly commit: LogIndex;
  readonly applied: LogIndex;
  readonly firstIndex: LogIndex;
  readonly lastIndex: LogIndex;
  /** Entries up to here are durable in this replica's log. */
  readonly durableIndex: LogIndex;
  /** 0n: none under way. */
  readonly transferee: ReplicaId;
  readonly configuration: Configuration;
  /** Of the leader: every member, itself included. Empty on others. */
  readonly progress: readonly ProgressStatus[];
}

export type ConfigurationChange =
  /** A new id joins and receives the log, without a vote. */
  | { readonly type: 'addLearner'; readonly id: ReplicaId }
  /** A learner that has caught up becomes a voter. */
  | { readonly type: 'promote'; readonly id: ReplicaId }
  /** A voter or learner leaves for ever: its id is recorded as removed. */
  | { readonly type: 'remove'; readonly id: ReplicaId };

/**
 * Why a configuration change was not proposed.
 * - `notLeader`: ask the leader.
 * - `notReady`: no entry of the leader's own term is committed yet (Raft's erratum of 2015); soon it will be.
 * - `changeInFlight`: the previous change is not committed yet.
 * - `transferring`: leadership is being handed over.
 * - `alreadyMember`, `alreadyVoter`, `notMember`: the change makes no sense for that id.
 * - `wasRemoved`: the id was a member once; a replica that comes back needs a new one.
 * - `notCaughtUp`: the learner lacks entries that were committed a heartbeat ago.
 * - `quorumAtRisk`: of the voters that would be left, fewer than a majority were heard from lately, or would be if the one to be promoted
 *   died; remove a dead one first.
 * - `isLeader`: a leader does not remove itself; transfer leadership first.
 */
export type ConfigurationRefusal =
  | 'notLeader'
  | 'notReady'
  | 'changeInFlight'
  | 'transferring'
  | 'alreadyMember'
  | 'alreadyVoter'
  | 'notMember'
  | 'wasRemoved'
  | 'notCaughtUp'
  | 'quorumAtRisk'
  | 'isLeader';

/** Where a proposal went. It is committed if and only if the entry committed at `index` has this `term`. */
export interface Proposed {
  readonly term: Term;
  readonly index: LogIndex;
}

/**
 * Why a proposal was not appended: nothing of it will ever be committed.
 * - `notLeader`: ask `status().leader`.
 * - `overloaded`: too many uncommitted bytes, or leadership is being handed over; try again soon.
 */
export type ProposalRefusal = 'notLeader' | 'overloaded';

/** `noSuchVoter`: the target is no voter. `isSelf`: it leads already. `inProgress`: another transfer is under way. */
export type TransferRefusal = 'notLeader' | 'noSuchVoter' | 'isSelf' | 'inProgress';
