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
  /** The replica runs and sees a leader. */
  healthy(): boolean;
  /** Hands leadership to the replica of a slot and waits until it leads. */
  transfer(id: number, timeoutMs: number): Promise<void>;
  /** Announces where a further replica is. Once it is started, empty, it joins by itself. */
  join(address: DbAddress, timeoutMs: number): Promise<void>;
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
}
