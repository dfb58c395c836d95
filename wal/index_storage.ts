/** An ordered map on disk, as the shard index needs it. Keys are ordered by their bytes. */
export interface IndexStorage {
  /** Synchronous, so that reading and changing an entry can't be interleaved with another change of it. */
  get(key: Uint8Array): Uint8Array | undefined;
  /** All or nothing, and durable when it resolves. */
  write(operations: readonly IndexOperation[]): Promise<void>;
  /** In order, as it was when the iteration began; from `from` (included) to `to` (excluded). */
  entries(range: {
    readonly from: Uint8Array;
    readonly to: Uint8Array;
  }): AsyncIterable<readonly [Uint8Array, Uint8Array]>;
  /** Removes everything. */
  clear(): Promise<void>;
  close(): Promise<void>;
  /** Removes everything, files too, and closes. */
  destroy(): Promise<void>;
}

/** Without a value: removes the key. */
export interface IndexOperation {
  readonly key: Uint8Array;
  readonly value: Uint8Array | undefined;
}
