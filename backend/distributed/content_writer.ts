import assert from 'node:assert/strict';

import { UnavailableError } from '../../s3db/errors.ts';
import type { Clock } from '../clock.ts';
import type { Codec, Pieces } from './erasure/codec.ts';
import type { Logger, ShardNode, Timing } from './ports.ts';
import { ShardPut } from './shard_put.ts';
import type { Stripe } from './stripes.ts';

/** Stripes that may wait for a node before the writer waits for it; one where stripes are big. */
const maxQueuedStripes = 2;
const bigStripeBytes = 2 * 1024 * 1024;
/** Content up to this size is kept until it is durable, so that it can be sent to another node from its start. */
const maxReplayBytes = 8 * 1024 * 1024;

interface ContentWriterOptions {
  readonly codec: Codec;
  readonly contentId: Uint8Array;
  readonly epoch: bigint;
  /** All members in order of preference for this content. */
  readonly order: readonly ShardNode[];
  readonly clock: Clock;
  readonly timing: Timing;
  readonly logger: Logger;
  /** Called at once when the write can't succeed any more. */
  readonly onFail: (error: Error) => void;
  /** Called for the memory of stripes that no node will read again. */
  readonly onUnused: (memory: ArrayBufferLike) => void;
}

/** Where the shards are. */
export interface StoredShards {
  readonly placement: readonly (number | null)[];
  /** Indexes of shards that are not stored. */
  readonly missing: readonly number[];
}

/** One of the K + M shards on its way. */
interface Slot {
  readonly index: number;
  /** Holds the shard, or is to hold it once it can. */
  node: number | null;
  /** The attempt that counts; none where the shard was given up. */
  put: ShardPut | undefined;
}

/**
 * Sends stripes to K + M nodes at once, at the pace of the slowest that is not given up. A node that fails is
 * replaced by the next one on the ring while the content can still be sent from its start, else its shard is left
 * out, but never so many that fewer than K + 1 (K where M = 0) are durable.
 */
export class ContentWriter {
  readonly #options: ContentWriterOptions;
  readonly #total: number;
  readonly #minDurable: number;
  readonly #slots: Slot[];
  readonly #spares: ShardNode[];
  readonly #attempts: ShardPut[] = [];
  /** Blocks by stripe, then index; undefined once they are too many. */
  #replay: Pieces[][] | undefined;
  #contentBytes = 0;
  /** What the blocks so far lie in; undefined once it is too much to wait for its end. */
  #memory: Set<ArrayBufferLike> | undefined = new Set();
  #blockSizeBytes = 0;
  #ended = false;
  #failure: Error | undefined;
  #changed = Promise.withResolvers<undefined>();
  #stopPolling: (() => void) | undefined;

  /** @throws UnavailableError when too few nodes are up to begin at all. */
  constructor(options: ContentWriterOptions) {
    this.#options = options;
    const { data, parity } = options.codec;
    this.#total = data + parity;
    this.#minDurable = parity === 0 ? data : data + 1;
    const states = new Map(options.order.map((node) => [node, node.state()]));
    const up = options.order.filter((node) => states.get(node) === 'up');
    const ideal = options.order.slice(0, this.#total);
    // A suspect node is worth a try only when there is no doing without it.
    const usable = (node: ShardNode): boolean =>
      states.get(node) === 'up' || (up.length < this.#minDurable && states.get(node) === 'suspect');
    this.#spares = options.order.slice(this.#total).filter(usable);
    const targets = Array.from({ length: this.#total }, (_, index) => {
      const node = ideal[index];
      return node !== undefined && usable(node) ? node : this.#spares.shift();
    });
    const ready = targets.filter((node) => node !== undefined).length;
    if (ready < this.#minDurable) {
      throw new UnavailableError(
        `${ready} of ${options.order.length} shard nodes are up, a write needs ${this.#minDurable}`,
      );
    }
    this.#slots = targets.map((node, index) => ({
      index,
      node: node?.id ?? ideal[index]?.id ?? null,
      put: undefined,
    }));
    this.#targets = targets;
    this.#replay = this.#spares.length > 0 ? [] : undefined;
  }

  /** Where each slot's first attempt goes. */
  readonly #targets: readonly (ShardNode | undefined)[];

  /** Encodes and sends a stripe; resolves when there is room for another. @throws UnavailableError */
  async push(stripe: Stripe): Promise<void> {
    this.#check();
    const parity = this.#options.codec.encode(stripe.blocks, stripe.blockBytes);
    const blocks: Pieces[] = stripe.blocks.map((block) => padBlock(block, stripe.blockBytes));
    for (const block of parity) blocks.push([block]);
    if (this.#blockSizeBytes === 0) {
      this.#blockSizeBytes = stripe.blockBytes;
      for (const slot of this.#slots) {
        const node = this.#targets[slot.index];
        if (node !== undefined) slot.put = this.#attempt(slot.index, node);
      }
      this.#poll();
    }
    this.#retain(blocks, stripe.contentBytes);
    for (const slot of this.#slots) slot.put?.push(blocks[slot.index] ?? []);
    const room = stripe.contentBytes >= bigStripeBytes ? 1 : maxQueuedStripes;
    await this.#until(() => this.#slots.every((slot) => (slot.put?.backlog ?? 0) < room));
  }

  /** Resolves when every shard is durable or given up. @throws UnavailableError when too few are durable. */
  async finish(): Promise<StoredShards> {
    this.#check();
    this.#ended = true;
    for (const slot of this.#slots) slot.put?.end();
    await this.#until(() => this.#slots.every((slot) => slot.put?.phase !== 'running'));
    this.#stopPolling?.();
    this.#replay = undefined;
    this.#recycle();
    const missing = this.#slots.filter((slot) => slot.put?.phase !== 'stored').map((slot) => slot.index);
    assert(this.#total - missing.length >= this.#minDurable, 'a write ended with too few durable shards');
    return { placement: this.#slots.map((slot) => slot.node), missing };
  }

  /** Makes every later call, and those that wait, reject with `error`. */
  fail(error: Error): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    this.#stopPolling?.();
    this.#replay = undefined;
    for (const attempt of this.#attempts) attempt.abandon(error);
    this.#options.onFail(error);
    this.#notify();
  }

  /**
   * What may lie where no metadata will name it: resolves for each attempt, once its node has answered, with the node
   * if a shard may be there. After `fail` all attempts, else those that were replaced.
   */
  strays(): readonly Promise<{ readonly node: ShardNode; readonly index: number } | undefined>[] {
    return this.#attempts
      .filter((put) => this.#failure !== undefined || this.#slots[put.index]?.node !== put.node.id)
      .map(async (put) => ((await put.settled) ? { node: put.node, index: put.index } : undefined));
  }

  #attempt(index: number, node: ShardNode): ShardPut {
    const { contentId, epoch, clock } = this.#options;
    const put = new ShardPut({
      node,
      contentId,
      index,
      epoch,
      blockSizeBytes: this.#blockSizeBytes,
      clock,
      onChange: () => {
        this.#settle();
        this.#notify();
      },
    });
    this.#attempts.push(put);
    return put;
  }

  #retain(blocks: Pieces[], contentBytes: number): void {
    this.#contentBytes += contentBytes;
    if (this.#contentBytes > maxReplayBytes) {
      this.#replay = undefined;
      this.#memory = undefined;
    }
    this.#replay?.push(blocks);
    if (this.#memory === undefined) return;
    // The zeros that pad a block are a piece of their own behind it.
    for (const [first] of blocks) if (first !== undefined) this.#memory.add(first.buffer);
  }

  /** Once every attempt was answered with success, nobody can read the blocks any more. */
  #recycle(): void {
    if (this.#memory === undefined || this.#attempts.some((attempt) => attempt.phase !== 'stored')) return;
    for (const memory of this.#memory) this.#options.onUnused(memory);
    this.#memory = undefined;
  }

  /** Replaces or gives up what failed. */
  #settle(): void {
    if (this.#failure !== undefined || this.#attempts.length === 0) return;
    for (const slot of this.#slots) {
      while (slot.put?.phase === 'failed') {
        const { put } = slot;
        const spare = this.#replay === undefined ? undefined : this.#nextSpare();
        this.#options.logger.warn(
          {
            err: put.error,
            node: put.node.id,
            shard: slot.index,
            contentId: Buffer.from(this.#options.contentId).toString('hex'),
            replacement: spare?.id,
          },
          'a shard could not be stored on its node',
        );
        slot.put = undefined;
        if (spare === undefined) break;
        slot.node = spare.id;
        slot.put = this.#attempt(slot.index, spare);
        for (const blocks of this.#replay ?? []) slot.put.push(blocks[slot.index] ?? []);
        if (this.#ended) slot.put.end();
      }
    }
    const alive = this.#slots.filter((slot) => slot.put !== undefined).length;
    if (alive < this.#minDurable) {
      this.fail(
        new UnavailableError(
          `${alive} of ${this.#total} shards can be stored, a write needs ${this.#minDurable} of them`,
        ),
      );
    }
  }

  #nextSpare(): ShardNode | undefined {
    while (this.#spares.length > 0) {
      const spare = this.#spares.shift();
      if (spare?.state() === 'up') return spare;
    }
    return undefined;
  }

  #poll(): void {
    const { clock, timing } = this.#options;
    this.#stopPolling = clock.after(timing.pollMs, () => {
      for (const slot of this.#slots) {
        const why = slot.put?.overdue(timing);
        if (why !== undefined) slot.put?.abandon(new UnavailableError(why));
      }
      if (this.#failure === undefined) this.#poll();
    });
  }

  /** Waits until `holds`, looking again at every change. */
  async #until(holds: () => boolean): Promise<void> {
    for (;;) {
      this.#check();
      if (holds()) return;
      await this.#changed.promise;
    }
  }

  #notify(): void {
    const changed = this.#changed;
    this.#changed = Promise.withResolvers();
    changed.resolve(undefined);
  }

  #check(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }
}

/** The block with the zeros that it lacks. */
function padBlock(block: Pieces, lengthBytes: number): Pieces {
  let lack = lengthBytes;
  for (const piece of block) lack -= piece.byteLength;
  return lack === 0 ? block : [...block, new Uint8Array(lack)];
}
