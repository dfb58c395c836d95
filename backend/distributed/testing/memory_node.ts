import assert from 'node:assert/strict';

import type { NodeState, ShardNode, ShardStorage } from '../ports.ts';

type ShardKey = Parameters<ShardStorage['put']>[0];
type PutOptions = Parameters<ShardStorage['put']>[1];
type ByteRange = NonNullable<Parameters<ShardStorage['get']>[1]>;
type ShardStat = Awaited<ReturnType<ShardStorage['put']>>;
type StorageUsage = Awaited<ReturnType<ShardStorage['usage']>>;

/** Throws as the real store does, local or remote. */
class ShardError extends Error {
  readonly code: string;

  constructor(code: string, name: string) {
    super(`${code} here`);
    this.code = code;
    this.name = name;
  }
}

interface StoredShard {
  readonly stat: ShardStat;
  readonly blocks: Uint8Array[];
  readonly damaged: Set<number>;
}

/** What a node does to a request once it has moved so many bytes of it. */
interface Fault {
  readonly kind: 'fail' | 'stall';
  readonly afterBytes: number;
}

/** A shard node in memory that can be told to misbehave. A stall lasts until `resume`. */
export class MemoryNode implements ShardNode, ShardStorage {
  readonly id: number;
  readonly host: string;
  readonly storage: ShardStorage = this;
  weight = 1;
  emptying = false;
  readonly shards = new Map<string, StoredShard>();
  current: NodeState = 'up';
  onPut: Fault | undefined;
  /** The node takes all of a shard and then does not answer, or fails. */
  onStored: 'fail' | 'stall' | undefined;
  onGet: Fault | undefined;
  onDelete: 'fail' | 'stall' | undefined;
  /** Before each block that it sends. */
  delayMs = 0;
  puts = 0;
  gets = 0;
  deletes = 0;
  sentBytes = 0;
  /** Requests that are being worked on. */
  active = 0;
  #stalled = Promise.withResolvers<undefined>();

  constructor(id: number, host = `host-${id}`) {
    this.id = id;
    this.host = host;
  }

  state(): NodeState {
    return this.current;
  }

  /** Ends all stalls: what stalled goes on or, if it was to fail meanwhile, fails. */
  resume(): void {
    this.onPut = undefined;
    this.onStored = undefined;
    this.onGet = undefined;
    this.onDelete = undefined;
    this.#stalled.resolve(undefined);
    this.#stalled = Promise.withResolvers();
  }

  /** Fails every request from now on, as a process that was killed. */
  die(): void {
    this.onPut = { kind: 'fail', afterBytes: 0 };
    this.onGet = { kind: 'fail', afterBytes: 0 };
    this.onStored = 'fail';
    this.onDelete = 'fail';
  }

  async put(shard: ShardKey, options: PutOptions, body: AsyncIterable<Uint8Array>): Promise<ShardStat> {
    this.puts += 1;
    this.active += 1;
    try {
      const chunks: Uint8Array[] = [];
      let taken = 0;
      const before = async (): Promise<void> => {
        if (this.onPut !== undefined && taken >= this.onPut.afterBytes)
          await this.#misbehave(this.onPut.kind);
      };
      await before();
      for await (const chunk of body) {
        // Copied, as a disk would, so that later changes of the chunk don't show here.
        chunks.push(chunk.slice());
        taken += chunk.byteLength;
        await before();
      }
      const bytes = Buffer.concat(chunks);
      const blocks: Uint8Array[] = [];
      for (let at = 0; at < bytes.byteLength; at += options.blockSizeBytes) {
        blocks.push(bytes.subarray(at, at + options.blockSizeBytes));
      }
      const stat = { ...shard, ...options, sizeBytes: bytes.byteLength };
      this.shards.set(keyOf(shard), { stat, blocks, damaged: new Set() });
      if (this.onStored !== undefined) await this.#misbehave(this.onStored);
      return stat;
    } finally {
      this.active -= 1;
    }
  }

  async get(
    shard: ShardKey,
    range?: ByteRange,
  ): Promise<{ readonly stat: ShardStat; readonly body: AsyncIterable<Uint8Array> }> {
    this.gets += 1;
    if (this.onGet !== undefined && this.onGet.afterBytes === 0) {
      this.active += 1;
      try {
        await this.#misbehave(this.onGet.kind);
      } finally {
        this.active -= 1;
      }
    }
    const stored = this.shards.get(keyOf(shard));
    if (stored === undefined) throw new ShardError('shard_not_found', 'ShardNotFoundError');
    const { sizeBytes } = stored.stat;
    return { stat: stored.stat, body: this.#send(stored, range ?? { offset: 0, lengthBytes: sizeBytes }) };
  }

  async stat(shard: ShardKey): Promise<ShardStat | undefined> {
    if (this.onGet?.afterBytes === 0) await this.#misbehave(this.onGet.kind);
    return this.shards.get(keyOf(shard))?.stat;
  }

  async delete(shard: ShardKey, options: { readonly epoch?: bigint } = {}): Promise<boolean> {
    this.deletes += 1;
    if (this.onDelete !== undefined) await this.#misbehave(this.onDelete);
    const stored = this.shards.get(keyOf(shard));
    if (options.epoch !== undefined && stored?.stat.epoch !== options.epoch) return false;
    return this.shards.delete(keyOf(shard));
  }

  async scan(options: {
    readonly startAfter?: ShardKey;
    readonly limit: number;
  }): Promise<readonly ShardStat[]> {
    const after = options.startAfter === undefined ? '' : keyOf(options.startAfter);
    return [...this.shards]
      .filter(([key]) => key > after)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .slice(0, options.limit)
      .map(([, stored]) => stored.stat);
  }

  async usage(): Promise<StorageUsage> {
    return { liveBytes: 0, usedBytes: 0, freeBytes: 1, shards: this.shards.size };
  }

  /** Flips a bit of block `block` of the shard: reading it fails from now on. */
  damage(shard: ShardKey, block: number): void {
    const stored = this.shards.get(keyOf(shard));
    assert(stored !== undefined && block < stored.blocks.length, 'there is no such block');
    stored.damaged.add(block);
  }

  async *#send(stored: StoredShard, range: ByteRange): AsyncGenerator<Uint8Array, void, undefined> {
    this.active += 1;
    try {
      const size = stored.stat.blockSizeBytes;
      const end = range.offset + range.lengthBytes;
      assert(end <= stored.stat.sizeBytes, 'the range is past the shard');
      let sent = 0;
      for (let block = Math.floor(range.offset / size); block * size < end; block += 1) {
        if (this.delayMs > 0) await new Promise((resolve) => setTimeout(resolve, this.delayMs));
        if (this.onGet !== undefined && sent >= this.onGet.afterBytes) await this.#misbehave(this.onGet.kind);
        if (stored.damaged.has(block)) throw new ShardError('shard_damaged', 'ShardDamagedError');
        const from = Math.max(range.offset - block * size, 0);
        const piece = stored.blocks[block]?.subarray(from, end - block * size) ?? new Uint8Array();
        sent += piece.byteLength;
        this.sentBytes += piece.byteLength;
        // In halves, so that blocks don't happen to come in one piece.
        const half = piece.byteLength >> 1;
        if (half > 0) yield piece.subarray(0, half);
        yield piece.subarray(half);
      }
    } finally {
      this.active -= 1;
    }
  }

  async #misbehave(kind: 'fail' | 'stall'): Promise<void> {
    if (kind === 'fail') throw new Error(`node ${this.id} is gone`);
    await this.#stalled.promise;
  }
}

function keyOf(shard: ShardKey): string {
  return `${Buffer.from(shard.objectHash).toString('hex')}/${String(shard.index).padStart(3, '0')}`;
}
