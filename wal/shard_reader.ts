import type { DamagedShards } from './damaged_shards.ts';
import { RecordDamagedError, SegmentNotFoundError } from './errors.ts';
import type { Log } from './log.ts';
import { ShardNotFoundError } from './shard_errors.ts';
import {
  blockPosition,
  decodeShardKey,
  encodeBlockKey,
  RECORD_BLOCK,
  type LiveEntry,
} from './shard_format.ts';
import type { ShardIndex } from './shard_index.ts';
import type { ByteRange } from './shard_storage.ts';

interface ShardReaderOptions {
  readonly log: Log;
  readonly index: ShardIndex;
  /** Told of what fails its checks. */
  readonly damaged: DamagedShards;
  /** Blocks read ahead of the one that is being consumed. */
  readonly readAheadBlocks: number;
  /** Throws once the store is closed or failed. */
  readonly checkOpen: () => void;
}

/** Reads shards block by block, and follows blocks that compaction moves meanwhile. */
export class ShardReader {
  readonly #options: ShardReaderOptions;

  constructor(options: ShardReaderOptions) {
    this.#options = options;
  }

  /** The bytes of a range that lies within the shard. @throws ShardDamagedError, ShardNotFoundError (deleted meanwhile) */
  async *read(shardKey: Uint8Array, entry: LiveEntry, range: ByteRange): AsyncGenerator<Uint8Array> {
    if (range.lengthBytes === 0) return;
    const { blockSizeBytes } = entry;
    const end = range.offset + range.lengthBytes;
    const first = Math.floor(range.offset / blockSizeBytes);
    const last = Math.floor((end - 1) / blockSizeBytes);
    const ahead: Promise<Uint8Array>[] = [];
    let next = first;
    for (let number = first; number <= last; number += 1) {
      for (; next <= last && next <= number + this.#options.readAheadBlocks; next += 1) {
        const block = this.#readBlock(shardKey, entry, next);
        // A reader that leaves early never gets to this one.
        block.catch(() => undefined);
        ahead.push(block);
      }
      const block = await ahead.shift();
      if (block === undefined) throw new TypeError('a block that was not read');
      const start = number * blockSizeBytes;
      yield block.subarray(Math.max(0, range.offset - start), Math.min(block.length, end - start));
    }
  }

  async #readBlock(shardKey: Uint8Array, entry: LiveEntry, number: number): Promise<Uint8Array> {
    const { log, index, damaged, checkOpen } = this.#options;
    checkOpen();
    const position = blockPosition(entry, number);
    if (position === undefined) throw damaged.add(shardKey, `block ${number} has no place`);
    try {
      const record = await log.read(position);
      const key = encodeBlockKey(shardKey, { putId: entry.putId, number });
      if (record.type === RECORD_BLOCK && key.equals(record.key)) return record.payload;
      throw damaged.add(shardKey, `block ${number} isn't where it belongs`);
    } catch (error) {
      if (error instanceof RecordDamagedError)
        throw damaged.add(shardKey, `block ${number}: ${error.message}`, error);
      if (!(error instanceof SegmentNotFoundError)) throw error;
      // Compaction may have moved the block since the entry was read.
      const current = liveEntry(index, shardKey);
      if (current?.putId !== entry.putId) throw new ShardNotFoundError(decodeShardKey(shardKey));
      if (current.revision === entry.revision)
        throw damaged.add(shardKey, `block ${number}: ${error.message}`, error);
      return this.#readBlock(shardKey, current, number);
    }
  }
}

/** What the index has of the shard; undefined where it was never written, or is deleted. */
export function liveEntry(index: ShardIndex, shardKey: Uint8Array): LiveEntry | undefined {
  const entry = index.get(shardKey);
  return entry?.kind === 'live' ? entry : undefined;
}
