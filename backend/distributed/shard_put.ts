import assert from 'node:assert/strict';

import type { Clock } from '../clock.ts';
import type { Pieces } from './erasure/codec.ts';
import type { ShardNode } from './ports.ts';

/** What one attempt is about. */
interface ShardPutOptions {
  readonly node: ShardNode;
  readonly contentId: Uint8Array;
  readonly index: number;
  readonly epoch: bigint;
  readonly blockSizeBytes: number;
  readonly clock: Clock;
  /** Called when the node took something, and when the attempt ended. */
  readonly onChange: () => void;
}

/**
 * One attempt to store one shard on one node: blocks are pushed in, the node pulls them out, and whoever pushes looks
 * at `backlog`. It ends as `stored`, or as `failed` when the node failed or the attempt was abandoned.
 */
export class ShardPut {
  readonly node: ShardNode;
  readonly index: number;
  readonly #options: ShardPutOptions;
  readonly #queue: { readonly pieces: Pieces; next: number }[] = [];
  #phase: 'running' | 'stored' | 'failed' = 'running';
  #error: unknown;
  #ended = false;
  /** Everything was handed out, so the node may store it even if its answer never comes. */
  #drained = false;
  #puller:
    | { resolve(result: IteratorResult<Uint8Array, undefined>): void; reject(error: unknown): void }
    | undefined;
  #progressMs: number;
  #suspectSinceMs: number | undefined;
  readonly #settled: Promise<boolean>;

  constructor(options: ShardPutOptions) {
    this.#options = options;
    this.node = options.node;
    this.index = options.index;
    this.#progressMs = options.clock.monotonicMs();
    this.#settled = this.#run();
  }

  get phase(): 'running' | 'stored' | 'failed' {
    return this.#phase;
  }

  /** Why it failed. */
  get error(): unknown {
    return this.#error;
  }

  /** Blocks that the node has not begun to take. */
  get backlog(): number {
    return this.#queue.length;
  }

  /**
   * Resolves when the node has answered, however the attempt was judged before: with whether a shard may be there.
   */
  get settled(): Promise<boolean> {
    return this.#settled;
  }

  /** Adds the next block. */
  push(block: Pieces): void {
    assert(!this.#ended, 'a block after the end');
    if (this.#phase !== 'running') return;
    if (block.length === 0) return;
    // Before the node had nothing to do; its time counts from now.
    if (this.#puller !== undefined) this.#progressMs = this.#options.clock.monotonicMs();
    this.#queue.push({ pieces: block, next: 0 });
    this.#feed();
  }

  /** There are no more blocks. */
  end(): void {
    this.#ended = true;
    if (this.#puller !== undefined) this.#progressMs = this.#options.clock.monotonicMs();
    this.#feed();
  }

  /** Gives the attempt up; a node that still pulls gets the error, so that nothing becomes visible there. */
  abandon(error: unknown): void {
    if (this.#phase !== 'running') return;
    this.#fail(error);
  }

  /** Why it is time to give up, if it is. */
  overdue(limits: { readonly suspectGraceMs: number; readonly stallMs: number }): string | undefined {
    if (this.#phase !== 'running') return undefined;
    const nowMs = this.#options.clock.monotonicMs();
    const state = this.node.state();
    if (state === 'down') return 'the node is down';
    if (state === 'up') this.#suspectSinceMs = undefined;
    else {
      this.#suspectSinceMs ??= nowMs;
      if (nowMs - this.#suspectSinceMs >= limits.suspectGraceMs) return 'the node is suspect';
    }
    const waitsForUs = this.#puller !== undefined;
    if (!waitsForUs && nowMs - this.#progressMs >= limits.stallMs) return 'the node takes nothing';
    return undefined;
  }

  async #run(): Promise<boolean> {
    const { node, contentId, index, epoch, blockSizeBytes } = this.#options;
    // Whoever makes an attempt has it in hand before it can fail.
    await Promise.resolve();
    try {
      await node.storage.put({ objectHash: contentId, index }, { epoch, blockSizeBytes }, this.#body());
    } catch (error) {
      if (this.#phase === 'running') this.#fail(error);
      return this.#drained;
    }
    if (this.#phase === 'running') {
      if (this.#drained) this.#phase = 'stored';
      else this.#fail(new Error(`node ${node.id} says it stored a shard that it did not take whole`));
      this.#options.onChange();
    }
    return true;
  }

  #fail(error: unknown): void {
    this.#phase = 'failed';
    this.#error = error;
    this.#queue.length = 0;
    const puller = this.#puller;
    this.#puller = undefined;
    puller?.reject(error);
    this.#options.onChange();
  }

  #body(): AsyncIterable<Uint8Array> {
    const iterator: AsyncIterator<Uint8Array, undefined> = {
      next: () => {
        this.#progressMs = this.#options.clock.monotonicMs();
        const { promise, resolve, reject } = Promise.withResolvers<IteratorResult<Uint8Array, undefined>>();
        if (this.#phase === 'failed') {
          reject(this.#error instanceof Error ? this.#error : new Error('the write was given up'));
        } else {
          assert(this.#puller === undefined, 'a body is pulled by one reader, one piece at a time');
          this.#puller = { resolve, reject };
          this.#feed();
        }
        return promise;
      },
      return: async () => {
        if (this.#phase === 'running' && !this.#drained)
          this.#fail(new Error('the node stopped taking the shard'));
        return { done: true, value: undefined };
      },
    };
    return { [Symbol.asyncIterator]: () => iterator };
  }

  #feed(): void {
    const puller = this.#puller;
    if (puller === undefined) return;
    const block = this.#queue[0];
    if (block === undefined) {
      if (!this.#ended) return;
      this.#puller = undefined;
      this.#drained = true;
      puller.resolve({ done: true, value: undefined });
      return;
    }
    const piece = block.pieces[block.next];
    assert(piece !== undefined, 'a queued block has pieces left');
    block.next += 1;
    this.#puller = undefined;
    puller.resolve({ done: false, value: piece });
    if (block.next === block.pieces.length) {
      this.#queue.shift();
      this.#options.onChange();
    }
  }
}
