import type { Batch, ReadOptions, ScanPage, ScanRequest, WriteOptions } from '../s3db/database.ts';

/**
 * Where the object engine keeps what all gateways must agree on: buckets, objects, versions, uploads. Errors are
 * those of `s3db/errors.ts`. Implemented by `LocalState` (Level, one process) and `DistributedState` (s3db).
 */
export interface GlobalState {
  get(table: Table, key: Uint8Array, options?: ReadOptions): Promise<Uint8Array | undefined>;
  set(table: Table, key: Uint8Array, value: Uint8Array): Promise<void>;
  delete(table: Table, key: Uint8Array): Promise<void>;
  exists(table: Table, key: Uint8Array, options?: ReadOptions): Promise<boolean>;
  /** Keys under a prefix, in order, page by page behind the scenes. */
  listKeys(table: Table, prefix: Uint8Array): AsyncIterable<Uint8Array>;
  scan(request: ScanRequest & { readonly table: Table }, options?: ReadOptions): Promise<ScanPage>;
  /** All or nothing; @throws ConditionFailedError, UnavailableError, UnknownOutcomeError. */
  batch(batch: Batch, options?: WriteOptions): Promise<void>;
  close(): Promise<void>;
}

/** `state` holds what the machinery itself needs: epochs, leases, repair queue. `users` isn't the engine's. */
export type Table =
  'buckets' | 'settings' | 'objects' | 'versions' | 'multipart' | 'parts' | 'state' | 'users';
