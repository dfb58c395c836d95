import type { LogPoint } from './append_log.ts';
import type { DamagedRange } from './recovery.ts';
import { ShardDamagedError } from './shard_errors.ts';
import { decodeShardKey, type LiveEntry } from './shard_format.ts';
import type { ShardIndex } from './shard_index.ts';
import type { ShardKey } from './shard_storage.ts';

/** Damage beyond this many shards is still never served, just not remembered before it is read again. */
const MAX_DAMAGED = 100_000;

/** Shards of which a part failed its checks, with the reason. */
export class DamagedShards {
  readonly #reasons = new Map<string, string>();

  list(): readonly { readonly shard: ShardKey; readonly reason: string }[] {
    return [...this.#reasons].map(([name, reason]) => ({
      shard: decodeShardKey(Buffer.from(name, 'latin1')),
      reason,
    }));
  }

  /** It was written anew, or deleted. */
  forget(shardKey: Uint8Array): void {
    this.#reasons.delete(nameOf(shardKey));
  }

  /** Remembers it. @returns what to throw */
  add(shardKey: Uint8Array, reason: string, cause?: Error): ShardDamagedError {
    this.#mark(shardKey, reason);
    return new ShardDamagedError(
      decodeShardKey(shardKey),
      reason,
      cause === undefined ? undefined : { cause },
    );
  }

  /** Remembers those that have a record in these ranges. Reads the whole index, but only when there are any. */
  async find(index: ShardIndex, ranges: readonly DamagedRange[]): Promise<void> {
    if (ranges.length === 0) return;
    for await (const [shardKey, entry] of index.entries()) {
      if (entry.kind !== 'live') continue;
      const range = ranges.find((candidate) => touches(entry, candidate));
      if (range !== undefined) this.#mark(shardKey, range.reason);
    }
  }

  #mark(shardKey: Uint8Array, reason: string): void {
    if (this.#reasons.size < MAX_DAMAGED) this.#reasons.set(nameOf(shardKey), reason);
  }
}

/** Whether one of the records that the shard is made of begins in the range. */
function touches(entry: LiveEntry, range: DamagedRange): boolean {
  const isIn = ({ segment, offset }: LogPoint): boolean =>
    segment === range.segment && offset >= range.from && offset < range.to;
  return isIn(entry.position) || entry.blocks.some(isIn);
}

function nameOf(shardKey: Uint8Array): string {
  return Buffer.from(shardKey).toString('latin1');
}
