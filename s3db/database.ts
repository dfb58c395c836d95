/**
 * The metadata database as its users see it: tables of byte keys and values, atomic conditional batches, ordered
 * scans with delimiter roll-up. Implemented by the client of the REST service; semantics in docs/ARCHITECTURE.md.
 */
export interface Database {
  get(table: string, key: Uint8Array, options?: ReadOptions): Promise<Uint8Array | undefined>;
  scan(request: ScanRequest, options?: ReadOptions): Promise<ScanPage>;
  /**
   * Applies all operations or none. Retries with the same request id until the deadline, so a batch applies once.
   * @throws ConditionFailedError naming the failed condition: nothing was applied.
   * @throws UnavailableError: nothing was applied (no leader was reached).
   * @throws UnknownOutcomeError: the deadline passed after the batch was sent; it may yet apply.
   */
  batch(batch: Batch, options?: WriteOptions): Promise<{ readonly index: number }>;
  close(): Promise<void>;
}

export interface ReadOptions {
  /** `linearizable` (default) sees every write acknowledged before the read began, anywhere; `stale` asks one replica. */
  readonly consistency?: 'linearizable' | 'stale';
  readonly deadlineMs?: number;
  readonly signal?: AbortSignal;
}

export interface WriteOptions {
  readonly deadlineMs?: number;
  readonly signal?: AbortSignal;
  /** UUIDv7; minted when not given. */
  readonly requestId?: string;
}

/** At most 20,000 items (conditions and operations) and 8 MiB. */
export interface Batch {
  readonly conditions: readonly Condition[];
  readonly operations: readonly Operation[];
}

export type Condition =
  | { readonly table: string; readonly key: Uint8Array; readonly exists: boolean }
  | { readonly table: string; readonly key: Uint8Array; readonly equals: Uint8Array }
  | { readonly table: string; readonly prefix: Uint8Array; readonly empty: true };

export type Operation =
  | { readonly type: 'put'; readonly table: string; readonly key: Uint8Array; readonly value: Uint8Array }
  | { readonly type: 'delete'; readonly table: string; readonly key: Uint8Array };

export interface ScanRequest {
  readonly table: string;
  readonly prefix: Uint8Array;
  /** Exclusive. A key, or a common prefix of an earlier page: then everything under it is skipped. */
  readonly startAfter?: Uint8Array;
  /** Keys that hold it after the prefix are rolled up to the part that ends with it. */
  readonly delimiter?: Uint8Array;
  /** 1..10,000; items and prefixes together. */
  readonly limit: number;
}

export interface ScanPage {
  /** In order of raw key bytes. */
  readonly items: readonly { readonly key: Uint8Array; readonly value: Uint8Array }[];
  readonly prefixes: readonly Uint8Array[];
  readonly truncated: boolean;
  /** What to give as `startAfter` for the next page; present when truncated. */
  readonly next?: Uint8Array;
}
