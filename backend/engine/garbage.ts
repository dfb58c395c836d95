import type { Lease } from '../lease.ts';
import { WorkLoop } from '../work_loop.ts';
import { CleanupPass } from './garbage_uploads.ts';
import type { EngineContext } from './context.ts';
import { ContentSweep } from './garbage_contents.ts';
import { engineLease } from './engine_lease.ts';
import { STATE_KEYS } from './row_keys.ts';

const shortestPauseMs = 5000;
const longestPauseMs = 60_000;
const retryMs = 5000;

interface GarbageOptions {
  readonly context: EngineContext;
  /** Content is freed no sooner than this after it became garbage. */
  readonly delayMs: number;
  /** How long a lease that nobody renews keeps other gateways out. */
  readonly leaseMs: number;
  /** Between two passes. */
  readonly intervalMs?: number;
}

/**
 * Frees what no metadata names any more: rows and content of ended uploads, content of replaced and deleted objects.
 * All that it needs to know is in rows, so it goes on where it stopped, here or on another gateway; every step may
 * be done twice.
 */
export class GarbageWorker {
  readonly #context: EngineContext;
  readonly #delayMs: number;
  readonly #lease: Lease;
  readonly #loop: WorkLoop;
  #pass: Promise<void> = Promise.resolve();

  constructor(options: GarbageOptions) {
    this.#context = options.context;
    this.#delayMs = options.delayMs;
    this.#lease = engineLease(options.context, {
      key: STATE_KEYS.garbageLease(),
      leaseMs: options.leaseMs,
    });
    const intervalMs =
      options.intervalMs ?? Math.min(Math.max(options.delayMs / 10, shortestPauseMs), longestPauseMs);
    this.#loop = new WorkLoop({
      name: 'the garbage worker',
      turn: async () => {
        await this.collect();
        return intervalMs;
      },
      failed: (error) => {
        options.context.logger.warn({ err: error }, 'collecting garbage failed and will be tried again');
        return retryMs;
      },
    });
  }

  start(): void {
    this.#loop.start();
  }

  /** There may be something to do. Where content is kept for a while first, the next pass comes soon enough. */
  wake(): void {
    if (this.#delayMs > 0) return;
    this.#loop.wake();
  }

  /** Ends after the step that is under way; the lease is given back. */
  async close(): Promise<void> {
    await this.#loop.close();
    await this.#pass;
    await this.#lease.release();
  }

  /** One pass over all there is; passes don't overlap. False: another gateway is at it. */
  async collect(): Promise<boolean> {
    const before = this.#pass;
    const pass = (async () => {
      await before;
      return this.#collectOnce();
    })();
    // Who comes next waits for the end of this pass, whatever that end is.
    this.#pass = pass.then(nothing, nothing);
    return pass;
  }

  async #collectOnce(): Promise<boolean> {
    const { signal } = this.#loop;
    if (signal.aborted || !(await this.#lease.keep())) return false;
    await new CleanupPass(this.#context, { signal, lease: this.#lease }).run();
    await new ContentSweep(this.#context, { signal, lease: this.#lease, delayMs: this.#delayMs }).run();
    return true;
  }
}

function nothing(): void {
  // The pass's own caller hears how it ended.
}
