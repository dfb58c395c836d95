/**
 * What keeps shards on one node. A shard is the run of blocks of one erasure-coded object at one shard index.
 * Implemented by `ShardStore` on an `AppendLog`; other nodes reach it through `transport/`.
 */
export interface ShardStorage {
  /**
   * Stores one shard. Blocks are cut from `body` at `blockSizeBytes` (the last may be shorter) and may interleave
   * with those of other puts. Resolves only when all of it is durable; a body that throws leaves nothing visible.
   * A second put of the same shard replaces the first when it completes.
   */
  put(shard: ShardKey, options: PutOptions, body: AsyncIterable<Uint8Array>): Promise<ShardStat>;
  /**
   * The bytes of `range` (default: all). Every block is checked before one of its bytes is yielded.
   * @throws ShardNotFoundError before the first byte; ShardDamagedError when a block fails its checks.
   */
  get(
    shard: ShardKey,
    range?: ByteRange,
  ): Promise<{ readonly stat: ShardStat; readonly body: AsyncIterable<Uint8Array> }>;
  stat(shard: ShardKey): Promise<ShardStat | undefined>;
  /** Durable when it resolves; deleting what is not there is not an error. Resolves with whether something was. */
  delete(shard: ShardKey, options?: DeleteOptions): Promise<boolean>;
  /** Shards in order of object hash then index, after `startAfter`. For repair and audits. */
  scan(options: { readonly startAfter?: ShardKey; readonly limit: number }): Promise<readonly ShardStat[]>;
  usage(): Promise<StorageUsage>;
}

export interface ShardKey {
  /** 32 bytes. */
  readonly objectHash: Uint8Array;
  /** 0..255 */
  readonly index: number;
}

export interface PutOptions {
  /** Which gateway epoch wrote it; the audit for orphans goes by it. */
  readonly epoch: bigint;
  readonly blockSizeBytes: number;
}

export interface DeleteOptions {
  /** Only a shard that was put under this epoch: one that was put anew meanwhile stays, and the answer is false. */
  readonly epoch?: bigint;
}

/** Bytes `offset` to `offset + lengthBytes - 1` of a shard. */
export interface ByteRange {
  readonly offset: number;
  readonly lengthBytes: number;
}

export interface ShardStat extends ShardKey {
  readonly sizeBytes: number;
  readonly blockSizeBytes: number;
  readonly epoch: bigint;
}

export interface StorageUsage {
  /** Bytes of live shards. */
  readonly liveBytes: number;
  /** Bytes of all segments on disk. */
  readonly usedBytes: number;
  readonly freeBytes: number;
  readonly shards: number;
}
