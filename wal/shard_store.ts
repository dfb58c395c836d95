import * as path from 'node:path';
import { crc32 } from '@node-rs/crc32';
import type { LogPoint } from './append_log.ts';
import { candidates, compactSegment, type CompactedSegment, type CompactionSource } from './compaction.ts';
import { DamagedShards } from './damaged_shards.ts';
import type { FileSystem } from './file_system.ts';
import { MAX_PAYLOAD_BYTES } from './format.ts';
import type { IndexStorage } from './index_storage.ts';
import { LevelIndex } from './level_index.ts';
import { Log } from './log.ts';
import type { LogOptions } from './log_options.ts';
import { NodeFileSystem } from './node_file_system.ts';
import { Pace, type PaceOptions } from './pace.ts';
import type { RecoveryReport } from './recovery.ts';
import { scrubLog, type ScrubOptions, type ScrubReport } from './scrub.ts';
import { ShardInvalidError, ShardNotFoundError, StoreClosedError, type Stamp } from './shard_errors.ts';
import {
  decodeShardKey,
  encodeClose,
  encodePutKey,
  encodeShardKey,
  encodeTombstone,
  RECORD_CLOSE,
  RECORD_TOMBSTONE,
  SHARD_KEY_BYTES,
  type LiveEntry,
} from './shard_format.ts';
import type { ShardIndex } from './shard_index.ts';
import { liveEntry, ShardReader } from './shard_reader.ts';
import { openIndex, type ReplayReport } from './shard_replay.ts';
import type {
  DeleteOptions,
  ByteRange,
  PutOptions,
  ShardKey,
  ShardStat,
  ShardStorage,
  StorageUsage,
} from './shard_storage.ts';
import { writeBody } from './shard_writer.ts';
import { claimDirectory } from './stamp.ts';

const MIB = 1024 * 1024;

export interface ShardStoreOptions {
  readonly directory: string;
  /** Written into an empty directory; refused by any other node's. */
  readonly stamp: Stamp;
  readonly fileSystem?: FileSystem;
  /** How the index is opened; the directory is `index` under the store's. Default: Level. */
  readonly openIndex?: (directory: string) => Promise<IndexStorage>;
  /** Default 1 s. 0: only when `checkpoint` is called. */
  readonly flushIntervalMs?: number;
  /** Bytes of one put that may be on their way to the disk. Default 8 MiB. */
  readonly maxUnsyncedBytes?: number;
  /** Blocks read ahead of the one that is being consumed. Default 2. */
  readonly readAheadBlocks?: number;
  /** Defaults as in `LogOptions`, but for a reserve of 512 MiB, 8 MiB that may wait and groups of 4 MiB. */
  readonly log?: Pick<
    LogOptions,
    | 'segmentSizeBytes'
    | 'reserveBytes'
    | 'maxWaitingBytes'
    | 'maxGroupBytes'
    | 'stallTimeoutMs'
    | 'maxOpenFiles'
  >;
}

/** What opening a store found. */
export interface StoreRecovery {
  readonly log: RecoveryReport;
  readonly replay: ReplayReport;
}

interface CompactOptions extends PaceOptions {
  /** Segments with less dead bytes than this part of them are left alone. Default 0.5. */
  readonly minDeadFraction?: number;
  readonly maxSegments?: number;
  /** Only these. */
  readonly segments?: readonly number[];
}

/** Compaction needs room for the copies of a segment before it can unlink it. */
const RESERVE_BYTES = 512 * MIB;
/** What waits for the disk is memory; measured: larger groups are no faster. */
const WAITING_BYTES = 8 * MIB;
const GROUP_BYTES = 4 * MIB;
const MAX_BLOCKS = 1 << 20;

/**
 * The shards of one node, in a log, found by an index. SHARDS.md says how.
 * A directory holds `stamp.json`, `log/` and `index/`.
 */
export class ShardStore implements ShardStorage {
  readonly recovery: StoreRecovery;
  readonly #directory: string;
  readonly #fileSystem: FileSystem;
  readonly #log: Log;
  readonly #index: ShardIndex;
  readonly #maxUnsyncedBytes: number;
  readonly #timer: NodeJS.Timeout | undefined;
  /** Ends of the log when an append began whose outcome isn't in the index yet. */
  readonly #unapplied = new Set<LogPoint>();
  /** First segment that a put in progress may have blocks in. */
  readonly #puts = new Map<number, number>();
  readonly #damaged = new DamagedShards();
  readonly #reader: ShardReader;
  #compacting = false;
  /** Segments that compaction left because of damage, with the live bytes that they had then. */
  readonly #kept = new Map<number, number>();
  #closing: Promise<void> | undefined;

  private constructor(
    options: ShardStoreOptions,
    parts: {
      readonly fileSystem: FileSystem;
      readonly log: Log;
      readonly index: ShardIndex;
      readonly replay: ReplayReport;
    },
  ) {
    this.#directory = options.directory;
    this.#fileSystem = parts.fileSystem;
    this.#log = parts.log;
    this.#index = parts.index;
    this.#maxUnsyncedBytes = options.maxUnsyncedBytes ?? 8 * MIB;
    this.#reader = new ShardReader({
      log: parts.log,
      index: parts.index,
      damaged: this.#damaged,
      readAheadBlocks: options.readAheadBlocks ?? 2,
      checkOpen: () => this.#checkOpen(),
    });
    this.recovery = { log: parts.log.recovery, replay: parts.replay };
    const intervalMs = options.flushIntervalMs ?? 1000;
    if (intervalMs > 0) {
      this.#timer = setInterval(() => {
        // A failure is kept by the index, and refuses everything from then on.
        this.checkpoint().catch(() => undefined);
      }, intervalMs);
      this.#timer.unref();
    }
  }

  /**
   * @throws StampMismatchError, StampMissingError, StampDamagedError, LogLockedError, LogDamagedError, system errors
   */
  static async open(options: ShardStoreOptions): Promise<ShardStore> {
    const { directory } = options;
    const fileSystem = options.fileSystem ?? new NodeFileSystem();
    await fileSystem.makeDirectory(directory);
    await claimDirectory(fileSystem, { directory, expected: options.stamp });
    const log = await Log.open({
      reserveBytes: RESERVE_BYTES,
      maxWaitingBytes: WAITING_BYTES,
      maxGroupBytes: GROUP_BYTES,
      ...options.log,
      directory: path.join(directory, 'log'),
      fileSystem,
    });
    try {
      // Two nodes may have met in the empty directory; who has the lock must be who is on the stamp.
      await claimDirectory(fileSystem, { directory, expected: options.stamp });
      const open = options.openIndex ?? LevelIndex.open.bind(LevelIndex);
      const storage = await open(path.join(directory, 'index'));
      try {
        const { index, replay } = await openIndex(storage, { log, created: log.recovery.created });
        const store = new ShardStore(options, { fileSystem, log, index, replay });
        await store.#damaged.find(index, [...log.recovery.damaged, ...replay.damage]);
        return store;
      } catch (error) {
        await storage.close();
        throw error;
      }
    } catch (error) {
      await log.close();
      throw error;
    }
  }

  /** Set once the disk or the index failed: the process should end, and the next open recovers. */
  get failure(): Error | undefined {
    return this.#log.failure ?? this.#index.failure;
  }

  /** The index, for inspection. */
  get index(): ShardIndex {
    return this.#index;
  }

  /** The log underneath, for inspection. */
  get log(): Log {
    return this.#log;
  }

  /**
   * Chunks of `body` must not change until it settles. A shard has at most 2^20 blocks. A body that stalls must be ended
   * by who gives it: until then compaction passes over the segments written since the put began.
   * @throws ShardInvalidError, LogFullError, LogFailedError, and whatever `body` throws
   */
  async put(shard: ShardKey, options: PutOptions, body: AsyncIterable<Uint8Array>): Promise<ShardStat> {
    this.#checkOpen();
    const shardKey = checkShard(shard);
    const { blockSizeBytes, epoch } = checkPutOptions(options);
    const putId = this.#index.takeId();
    this.#puts.set(putId, this.#log.end.segment);
    try {
      const maxUnsyncedBytes = this.#maxUnsyncedBytes;
      const written = await writeBody(this.#log, { shardKey, putId, blockSizeBytes, maxUnsyncedBytes, body });
      if (written.blocks.length >= MAX_BLOCKS) {
        throw new ShardInvalidError(`body: at most ${MAX_BLOCKS} blocks of ${blockSizeBytes} bytes`);
      }
      const { sizeBytes, checksum, blocks, last } = written;
      this.#checkOpen();
      // Order is taken and the append queued in one go, so that order in the log is order by number.
      const order = this.#index.takeId();
      const close = { putId, order, revision: 0, epoch, sizeBytes, blockSizeBytes, checksum, blocks };
      const record = {
        type: RECORD_CLOSE,
        key: encodePutKey(shardKey, putId),
        payload: encodeClose(close, last !== undefined),
      };
      await this.#applied(async () => {
        const positions = await this.#log.append(last === undefined ? [record] : [last, record]);
        const position = positions.at(-1);
        if (position === undefined) throw new TypeError('an append without a position');
        const lastPlace = last === undefined ? undefined : positions[0];
        const all = lastPlace === undefined ? blocks : [...blocks, placeOf(lastPlace)];
        this.#index.apply(shardKey, { kind: 'close', close: { ...close, blocks: all }, position });
      });
      this.#damaged.forget(shardKey);
      if (this.#index.full) await this.checkpoint();
      return statOf(shardKey, close);
    } finally {
      this.#puts.delete(putId);
    }
  }

  async get(
    shard: ShardKey,
    range?: ByteRange,
  ): Promise<{ readonly stat: ShardStat; readonly body: AsyncIterable<Uint8Array> }> {
    this.#checkOpen();
    const shardKey = checkShard(shard);
    const entry = liveEntry(this.#index, shardKey);
    if (entry === undefined) throw new ShardNotFoundError(shard);
    const { offset, lengthBytes } = range ?? { offset: 0, lengthBytes: entry.sizeBytes };
    if (!isCount(offset) || !isCount(lengthBytes) || offset + lengthBytes > entry.sizeBytes) {
      throw new ShardInvalidError(
        `range: within 0 to ${entry.sizeBytes} expected, got ${lengthBytes} bytes from ${offset}`,
      );
    }
    return {
      stat: statOf(shardKey, entry),
      body: this.#reader.read(shardKey, entry, { offset, lengthBytes }),
    };
  }

  async stat(shard: ShardKey): Promise<ShardStat | undefined> {
    this.#checkOpen();
    const shardKey = checkShard(shard);
    const entry = liveEntry(this.#index, shardKey);
    return entry === undefined ? undefined : statOf(shardKey, entry);
  }

  async delete(shard: ShardKey, options: DeleteOptions = {}): Promise<boolean> {
    this.#checkOpen();
    const shardKey = checkShard(shard);
    const live = liveEntry(this.#index, shardKey);
    if (live === undefined) return false;
    // From here to the tombstone's order nothing waits: a put that completes later has a higher order, and wins.
    if (options.epoch !== undefined && live.epoch !== options.epoch) return false;
    const order = this.#index.takeId();
    await this.#applied(async () => {
      const record = { type: RECORD_TOMBSTONE, key: shardKey, payload: encodeTombstone(order) };
      const [position] = await this.#log.append([record], { essential: true });
      if (position === undefined) throw new TypeError('an append without a position');
      this.#index.apply(shardKey, { kind: 'tombstone', order, position });
    });
    this.#damaged.forget(shardKey);
    if (this.#index.full) await this.checkpoint();
    return true;
  }

  async scan(options: {
    readonly startAfter?: ShardKey;
    readonly limit: number;
  }): Promise<readonly ShardStat[]> {
    this.#checkOpen();
    if (!isCount(options.limit)) throw new ShardInvalidError(`limit: a count expected, got ${options.limit}`);
    const startAfter = options.startAfter === undefined ? undefined : checkShard(options.startAfter);
    const found: ShardStat[] = [];
    if (options.limit === 0) return found;
    for await (const [shardKey, entry] of this.#index.entries(startAfter)) {
      if (entry.kind === 'live') found.push(statOf(shardKey, entry));
      if (found.length >= options.limit) break;
    }
    return found;
  }

  async usage(): Promise<StorageUsage> {
    this.#checkOpen();
    const { shards, liveBytes } = this.#index.totals;
    let usedBytes = 0;
    for (const segment of this.#log.segments) usedBytes += segment.sizeBytes;
    return { shards, liveBytes, usedBytes, freeBytes: await this.#fileSystem.freeBytes(this.#directory) };
  }

  /** Shards of which a part failed its checks, with the reason; for repair. A new put or a delete takes one off. */
  damaged(): readonly { readonly shard: ShardKey; readonly reason: string }[] {
    return this.#damaged.list();
  }

  /** The log is in the stored index up to here. */
  get checkpointed(): LogPoint | undefined {
    return this.#index.position;
  }

  /** Writes the index, so that the next open has little to replay. Happens by itself once a second. */
  async checkpoint(): Promise<void> {
    await this.#index.flush(() => {
      let least = this.#log.end;
      for (const point of this.#unapplied) if (before(point, least)) least = point;
      return least;
    });
  }

  /**
   * Frees the dead bytes of sealed segments, the deadest first, one at a time; see compaction.ts. Puts, gets and deletes
   * go on meanwhile. @throws the reason of an aborted `signal`: what was begun is done again next time
   */
  async compact(options: CompactOptions = {}): Promise<readonly CompactedSegment[]> {
    this.#checkOpen();
    if (this.#compacting) throw new ShardInvalidError('a compaction is running already');
    this.#compacting = true;
    try {
      return await this.#compact(options);
    } finally {
      this.#compacting = false;
    }
  }

  /**
   * Reads and checks everything, a segment at a time; shards concerned by what it finds are in `damaged` from then on.
   * @throws the reason of an aborted `signal`: go on from the last `next`
   */
  async scrub(options: ScrubOptions = {}): Promise<ScrubReport> {
    this.#checkOpen();
    return scrubLog(this.#log, {
      ...options,
      onSegment: async (progress) => {
        await this.#damaged.find(this.#index, progress.damaged);
        await options.onSegment?.(progress);
        this.#checkOpen();
      },
    });
  }

  /**
   * Reads a whole shard and holds it against the checksum of its close.
   * @throws ShardNotFoundError, ShardDamagedError
   */
  async check(shard: ShardKey): Promise<void> {
    this.#checkOpen();
    const shardKey = checkShard(shard);
    const entry = liveEntry(this.#index, shardKey);
    if (entry === undefined) throw new ShardNotFoundError(shard);
    let checksum = 0;
    for await (const piece of this.#reader.read(shardKey, entry, {
      offset: 0,
      lengthBytes: entry.sizeBytes,
    })) {
      checksum = crc32(piece, checksum);
    }
    if (checksum !== entry.checksum) throw this.#damaged.add(shardKey, 'the checksum of the whole is wrong');
  }

  async close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    clearInterval(this.#timer);
    try {
      // The log ends first: what it still acknowledges belongs into the last checkpoint.
      await this.#log.close();
      if (this.failure === undefined) await this.checkpoint();
    } finally {
      await this.#index.close();
    }
  }

  async #compact(options: CompactOptions): Promise<CompactedSegment[]> {
    const source: CompactionSource = {
      log: this.#log,
      index: this.#index,
      applied: (action) => this.#applied(action),
      firstUnsettledSegment: () =>
        Math.min(
          this.#log.end.segment,
          ...this.#puts.values(),
          ...[...this.#unapplied].map(({ segment }) => segment),
        ),
      checkpoint: () => this.checkpoint(),
    };
    const pace = new Pace(options);
    const done: CompactedSegment[] = [];
    for (const { segment } of candidates(source, options.minDeadFraction ?? 0.5)) {
      if (done.length >= (options.maxSegments ?? Infinity)) break;
      if (options.segments?.includes(segment) === false) continue;
      // Nothing has been repaired since it had to be kept.
      if (this.#kept.get(segment) === this.#index.liveBytesOf(segment)) continue;
      this.#checkOpen();
      const compacted = await compactSegment(source, { segment, pace });
      done.push(compacted);
      if (compacted.kept) this.#kept.set(segment, this.#index.liveBytesOf(segment));
      else this.#kept.delete(segment);
    }
    if (done.length > 0) await this.checkpoint();
    return done;
  }

  /** Marks the span in which the log may hold something that the index doesn't know yet. */
  async #applied(action: () => Promise<void>): Promise<void> {
    const { segment, offset } = this.#log.end;
    const point = { segment, offset };
    this.#unapplied.add(point);
    try {
      await action();
    } finally {
      this.#unapplied.delete(point);
    }
  }

  #checkOpen(): void {
    const { failure } = this;
    if (failure !== undefined) throw failure;
    if (this.#closing !== undefined) throw new StoreClosedError();
  }
}

function checkShard(shard: ShardKey): Buffer {
  if (shard.objectHash.length !== SHARD_KEY_BYTES - 1) {
    throw new ShardInvalidError(`objectHash: 32 bytes expected, got ${shard.objectHash.length}`);
  }
  if (!isCount(shard.index) || shard.index > 255) {
    throw new ShardInvalidError(`index: an integer from 0 to 255 expected, got ${shard.index}`);
  }
  return encodeShardKey(shard);
}

function checkPutOptions(options: PutOptions): PutOptions {
  const { blockSizeBytes, epoch } = options;
  if (!isCount(blockSizeBytes) || blockSizeBytes < 1 || blockSizeBytes > MAX_PAYLOAD_BYTES) {
    throw new ShardInvalidError(
      `blockSizeBytes: from 1 to ${MAX_PAYLOAD_BYTES} expected, got ${blockSizeBytes}`,
    );
  }
  if (epoch < 0n || epoch >= 1n << 64n) {
    throw new ShardInvalidError(`epoch: an unsigned 64-bit number expected, got ${epoch.toString()}`);
  }
  return options;
}

function statOf(
  shardKey: Uint8Array,
  close: Pick<LiveEntry, 'sizeBytes' | 'blockSizeBytes' | 'epoch'>,
): ShardStat {
  const { sizeBytes, blockSizeBytes, epoch } = close;
  return { ...decodeShardKey(shardKey), sizeBytes, blockSizeBytes, epoch };
}

function placeOf({ segment, offset }: LogPoint): LogPoint {
  return { segment, offset };
}

function before(a: LogPoint, b: LogPoint): boolean {
  return a.segment < b.segment || (a.segment === b.segment && a.offset < b.offset);
}

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}
