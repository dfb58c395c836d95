import type { Clock } from '../clock.ts';
import type { GlobalState } from '../global_state.ts';
import { encodeLocator } from './locator.ts';
import type { ContentLayout } from './locator.ts';
import type { Logger } from './ports.ts';
import { repairOperation } from './repair_rows.ts';

/** The same content is not reported again for so long. */
const quietMs = 60_000;
/** Contents whose last report is remembered. */
const maxRemembered = 10_000;
/** Rows that may be on their way to the database at once. */
const maxWriting = 8;

/**
 * Puts what reads find missing or damaged into the repair queue. Reads never wait for it; what is too much to write
 * now is found again by the next read or by the scrubber.
 */
export class RepairReporter {
  readonly #state: GlobalState;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #reported = new Map<string, number>();
  readonly #writing = new Set<Promise<void>>();

  constructor(options: { readonly state: GlobalState; readonly clock: Clock; readonly logger: Logger }) {
    this.#state = options.state;
    this.#clock = options.clock;
    this.#logger = options.logger;
  }

  /** Notes that these shards of the content are missing or damaged. */
  report(content: ContentLayout, missing: readonly number[]): void {
    const key = `${Buffer.from(content.contentId).toString('hex')}/${[...missing].sort((a, b) => a - b).join()}`;
    const nowMs = this.#clock.monotonicMs();
    const lastMs = this.#reported.get(key);
    if (lastMs !== undefined && nowMs - lastMs < quietMs) return;
    if (this.#writing.size >= maxWriting) return;
    this.#reported.delete(key);
    const oldest = this.#reported.keys().next();
    if (this.#reported.size >= maxRemembered && oldest.done !== true) this.#reported.delete(oldest.value);
    this.#reported.set(key, nowMs);
    const writing = this.#write(content, missing).catch((error: unknown) => {
      this.#reported.delete(key);
      this.#logger.warn({ err: error, content: key }, 'a repair could not be queued');
    });
    this.#writing.add(writing);
    void writing.then(() => this.#writing.delete(writing));
  }

  /** Resolves when what was reported is written or given up. */
  async close(): Promise<void> {
    await Promise.all(this.#writing);
  }

  async #write(content: ContentLayout, missing: readonly number[]): Promise<void> {
    this.#logger.warn(
      { contentId: Buffer.from(content.contentId).toString('hex'), missing },
      'a read found shards missing or damaged',
    );
    await this.#state.batch({
      conditions: [],
      operations: [repairOperation(content, { locator: encodeLocator(content), missing })],
    });
  }
}
