import type { Batch, ScanPage, ScanRequest } from '../database.ts';
import type { Outcome } from '../request_memory.ts';
import type { DbAddress } from '../server_options.ts';

/** What the REST routes need of a replica. All timeouts are milliseconds from the call. */
export interface DatabaseService {
  /** @throws UnavailableError, UnknownOutcomeError, InvalidRequestError, ReplicaFailedError */
  write(
    batch: Batch,
    request: { readonly requestId: Uint8Array; readonly timeoutMs: number },
  ): Promise<Outcome>;
  get(table: string, key: Uint8Array, read: ReadRequest): Promise<Uint8Array | undefined>;
  scan(request: ScanRequest, read: ReadRequest): Promise<ScanPage>;
  leader(timeoutMs: number): Promise<LeaderInfo>;
  /** `host:port` of the leader's REST listener, if one is known now. */
  leaderAddress(): string | undefined;
  status(): StatusInfo;
  /** In Prometheus' text form. */
  metrics(): Promise<{ readonly contentType: string; readonly text: string }>;
  /** The replica runs and sees a leader. */
  healthy(): boolean;
  /** Hands leadership to the replica of a slot and waits until it leads. */
  transfer(id: number, timeoutMs: number): Promise<void>;
  /** Announces where a further replica is. Once it is started, empty, it joins by itself. */
  join(address: DbAddress, timeoutMs: number): Promise<void>;
  /**
   * All rows at one moment, not before the call, in the form of `backup_file.ts`. A stream that isn't read on for a minute is ended.
   */
  backup(timeoutMs: number): Promise<AsyncIterable<Uint8Array>>;
  /** Takes a backup into the empty database, in parts (`restore.ts`); the leader only. */
  restoreBegin(id: string, timeoutMs: number): Promise<{ readonly parts: number }>;
  restorePart(
    id: string,
    part: { readonly number: number; readonly batch: Batch },
    timeoutMs: number,
  ): Promise<void>;
  restoreFinish(
    id: string,
    expected: { readonly rows: number; readonly contents: string },
    timeoutMs: number,
  ): Promise<void>;
  /** Compacts this replica's log; resolves with the index behind which it begins. */
  snapshot(timeoutMs: number): Promise<{ readonly index: number }>;
  /** Retires the replica of a slot and waits until that is committed. */
  leave(id: number, timeoutMs: number): Promise<void>;
}

export interface ReadRequest {
  readonly stale: boolean;
  readonly timeoutMs: number;
}

export interface LeaderInfo {
  readonly id: number;
  readonly host: string;
  readonly port: number;
  readonly term: number;
}

/** `GET /status`. Members are the `id`s of their `[[db]]`; an incarnation whose slot isn't known is its own number in text. */
export interface StatusInfo {
  readonly id: number;
  readonly role: 'leader' | 'follower' | 'candidate' | 'learner' | 'forming' | 'failed';
  readonly term: number;
  readonly leader_id: number | null;
  readonly commit_index: number;
  readonly applied_index: number;
  readonly last_index: number;
  readonly voters: readonly (number | string)[];
  readonly learners: readonly (number | string)[];
  readonly cluster_id: string | null;
  /** Of the replica in this slot; a directory that was lost took its number with it. */
  readonly incarnation: string;
  readonly uptime_s: number;
  /** Why the role is `failed`. */
  readonly failure: string | null;
  readonly log: {
    readonly durable_index: number;
    /** The entry behind which the log begins: what is older is in the state alone. */
    readonly snapshot_index: number;
    readonly segments: number;
    readonly bytes: number;
    /** fdatasyncs since the start of the process. */
    readonly syncs: number;
  };
  readonly state: {
    /** The highest timestamp of any write applied. */
    readonly log_time: string | null;
    readonly remembered_requests: number;
    /** The version of commands in use, and the newest that this program knows. */
    readonly command_version: number;
    readonly newest_command_version: number;
    readonly restoring: boolean;
  };
  readonly disk: {
    /** Null: not looked yet. */
    readonly free_bytes: number | null;
    /** Below this only deletes are taken. */
    readonly reserve_bytes: number;
    readonly low: boolean;
  };
  readonly queue: {
    readonly writes_waiting: number;
    readonly writes_waiting_bytes: number;
    /** In the log, and not decided yet. */
    readonly writes_undecided: number;
    readonly reads_waiting: number;
  };
  /** The other replicas that are configured, announced or members. */
  readonly peers: readonly PeerStatus[];
}

interface PeerStatus {
  readonly id: number | string;
  readonly address: string | null;
  readonly member: 'voter' | 'learner' | 'none';
  readonly connection: 'up' | 'suspect' | 'down';
  /** Since its last Raft message; null: none yet. */
  readonly last_contact_ms: number | null;
  /** The newest version of commands that it said to know. */
  readonly command_version: number | null;
  /** Those that follow are the leader's; null elsewhere. */
  readonly match_index: number | null;
  readonly lag_entries: number | null;
  readonly progress: 'probe' | 'replicate' | 'snapshot' | null;
}
