import { sleep, type Clock } from '../clock.ts';
import type { GlobalState } from '../global_state.ts';
import type { ContentIndex } from './content_index.ts';
import { decodeLocator } from './locator.ts';
import type { Logger } from './ports.ts';
import { repairOperation } from './repair_rows.ts';

export interface DamageWatchOptions {
  readonly node: number;
  /** What the node's store has found damaged and not had replaced since. */
  readonly damaged: () => readonly {
    readonly shard: { readonly objectHash: Uint8Array; readonly index: number };
  }[];
  readonly contents: ContentIndex;
  readonly state: GlobalState;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Between two looks (default 10 s). */
  readonly intervalMs?: number;
}

/** The same shard is not reported again for so long. */
const quietMs = 300_000;
/** Shards looked up in one look. */
const maxAtOnce = 500;

/** Queues for repair what a node of this process finds damaged, by scrubbing or while it reads. */
export class DamageWatch {
  readonly #options: DamageWatchOptions;
  readonly #reported = new Map<string, number>();
  readonly #stop = new AbortController();
  #running: Promise<void> = Promise.resolve();

  private constructor(options: DamageWatchOptions) {
    this.#options = options;
  }

  /** Starts looking. */
  static open(options: DamageWatchOptions): DamageWatch {
    const watch = new DamageWatch(options);
    watch.#running = watch.#run();
    return watch;
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  /** Looks once. */
  async look(): Promise<void> {
    const { damaged, contents, state, node, clock, logger } = this.#options;
    const nowMs = clock.monotonicMs();
    for (const [name, atMs] of this.#reported) if (nowMs - atMs >= quietMs) this.#reported.delete(name);
    for (const { shard } of damaged().slice(0, maxAtOnce)) {
      const contentId = Buffer.from(shard.objectHash).toString('hex');
      const name = `${contentId}/${shard.index}`;
      if (this.#reported.has(name)) continue;
      const locator = await contents.find(shard.objectHash);
      this.#reported.set(name, nowMs);
      if (locator === undefined) continue;
      const content = decodeLocator(locator);
      if (content.placement[shard.index] !== node) continue;
      logger.warn({ contentId, shard: shard.index, node }, 'a damaged shard is queued for repair');
      await state.batch({
        conditions: [],
        operations: [repairOperation(content, { locator, missing: [shard.index] })],
      });
    }
  }

  async #run(): Promise<void> {
    const { clock, logger, intervalMs = 10_000 } = this.#options;
    const { signal } = this.#stop;
    const isClosed = (): boolean => signal.aborted;
    while (!isClosed()) {
      try {
        await this.look();
      } catch (error) {
        if (!isClosed()) logger.warn({ err: error }, 'damaged shards could not be queued yet');
      }
      await sleep(intervalMs, { clock, signal });
    }
  }
}
