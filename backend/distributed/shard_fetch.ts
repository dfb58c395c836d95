import type { Clock } from '../clock.ts';
import type { Pieces } from './erasure/codec.ts';
import type { ShardNode } from './ports.ts';

/** A run of neighbouring cuts of one shard. */
interface ShardFetchOptions {
  readonly node: ShardNode;
  readonly contentId: Uint8Array;
  readonly index: number;
  /** The size that the shard must have. */
  readonly shardBytes: number;
  /** Where in the shard the first cut begins. */
  readonly offset: number;
  /** Which cuts these are to the caller, and how long each is. */
  readonly cuts: readonly { readonly part: number; readonly lengthBytes: number }[];
  readonly clock: Clock;
  readonly onCut: (
    fetch: ShardFetch,
    cut: { readonly part: number; readonly pieces: Pieces; readonly elapsedMs: number },
  ) => void;
  /** Called once, unless cancelled: without an error when all cuts came. */
  readonly onEnd: (fetch: ShardFetch, error: unknown) => void;
}

/** The shard is of another size than its content says: it belongs to something else, or is cut short. */
export class ShardSizeError extends Error {
  override readonly name = 'ShardSizeError';
}

/** One request to one node for a run of a shard's bytes, handed on cut by cut as they come. */
export class ShardFetch {
  readonly index: number;
  readonly node: ShardNode;
  /** Whether it has been slow enough that another shard was asked. */
  late = false;
  readonly #options: ShardFetchOptions;
  #progressMs: number;
  #done = 0;
  #over = false;
  #iterator: AsyncIterator<Uint8Array> | undefined;

  constructor(options: ShardFetchOptions) {
    this.#options = options;
    this.index = options.index;
    this.node = options.node;
    this.#progressMs = options.clock.monotonicMs();
    void this.#run();
  }

  get over(): boolean {
    return this.#over;
  }

  /** Whether the cut is still to come from here. */
  expects(part: number): boolean {
    return !this.#over && this.#options.cuts.some((cut, i) => i >= this.#done && cut.part === part);
  }

  /** Whether the cut was asked for here. */
  covers(part: number): boolean {
    return this.#options.cuts.some((cut) => cut.part === part);
  }

  /** The cut that is to come next. */
  get nextPart(): number | undefined {
    return this.#options.cuts[this.#done]?.part;
  }

  /** How long nothing has come. */
  idleMs(): number {
    return this.#options.clock.monotonicMs() - this.#progressMs;
  }

  /** Stops it as failed. */
  fail(error: Error): void {
    if (this.#over) return;
    this.cancel();
    this.#options.onEnd(this, error);
  }

  /** Stops it without a word. */
  cancel(): void {
    if (this.#over) return;
    this.#over = true;
    if (this.#iterator !== undefined) closeIterator(this.#iterator);
  }

  async #run(): Promise<void> {
    try {
      await this.#receive();
    } catch (error) {
      if (this.#over) return;
      this.#over = true;
      this.#options.onEnd(this, error);
    }
  }

  async #receive(): Promise<void> {
    const { node, contentId, index, offset, cuts, shardBytes, clock } = this.#options;
    const lengthBytes = cuts.reduce((sum, cut) => sum + cut.lengthBytes, 0);
    const { stat, body } = await node.storage.get({ objectHash: contentId, index }, { offset, lengthBytes });
    const iterator = body[Symbol.asyncIterator]();
    if (this.#isOver()) {
      closeIterator(iterator, 'unread');
      return;
    }
    if (stat.sizeBytes !== shardBytes) {
      closeIterator(iterator, 'unread');
      throw new ShardSizeError(
        `shard ${index} on node ${node.id} has ${stat.sizeBytes} bytes, not ${shardBytes}`,
      );
    }
    this.#iterator = iterator;
    let pieces: Uint8Array[] = [];
    let lack = cuts[0]?.lengthBytes ?? 0;
    for (;;) {
      const result = await iterator.next();
      if (this.#isOver()) return;
      if (result.done === true) break;
      let rest = result.value;
      while (rest.byteLength > 0) {
        const cut = cuts[this.#done];
        if (cut === undefined) {
          closeIterator(iterator);
          throw new ShardSizeError(`node ${node.id} sent more of shard ${index} than it was asked for`);
        }
        const count = Math.min(rest.byteLength, lack);
        pieces.push(count === rest.byteLength ? rest : rest.subarray(0, count));
        rest = rest.subarray(count);
        lack -= count;
        if (lack > 0) continue;
        this.#done += 1;
        lack = cuts[this.#done]?.lengthBytes ?? 0;
        const nowMs = clock.monotonicMs();
        const elapsedMs = nowMs - this.#progressMs;
        this.#progressMs = nowMs;
        this.late = false;
        const taken = pieces;
        pieces = [];
        this.#options.onCut(this, { part: cut.part, pieces: taken, elapsedMs });
        if (this.#isOver()) return;
      }
    }
    if (this.#done < cuts.length) {
      throw new ShardSizeError(`node ${node.id} sent less of shard ${index} than it was asked for`);
    }
    this.#over = true;
    this.#options.onEnd(this, undefined);
  }

  /** Asked anew after every wait, since `cancel` may have come in between. */
  #isOver(): boolean {
    return this.#over;
  }
}

/**
 * Lets go of a stream whose rest nobody wants. An async generator that was never asked for anything would not run
 * its own clean-up, so it is asked once.
 */
function closeIterator(iterator: AsyncIterator<Uint8Array>, read: 'read' | 'unread' = 'read'): void {
  const ignore = (): void => undefined;
  if (read === 'unread') iterator.next().then(ignore, ignore);
  // The outcome of a stream that was given up concerns nobody.
  iterator.return?.().then(ignore, ignore);
}
