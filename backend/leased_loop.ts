import type { Clock } from './clock.ts';
import { Lease, type LeasedRun, type LeaseOptions } from './lease.ts';
import { WorkLoop } from './work_loop.ts';

export interface LeasedLoopOptions extends LeaseOptions {
  /** What works, as the end of the work is told. */
  readonly name: string;
  readonly turn: (run: LeasedRun) => Promise<void>;
  /** Between two turns, or two looks whether the lease is free. */
  readonly intervalMs: number;
  /** Said of a turn that was broken off; the next is tried all the same. */
  readonly failure: string;
  readonly clock?: Clock;
  readonly logger: LeaseOptions['logger'] & {
    warn(fields: Readonly<Record<string, unknown>>, message: string): void;
  };
}

/** Work in the background of one process of all: the one that holds the lease. */
export class LeasedLoop {
  readonly #lease: Lease;
  readonly #loop: WorkLoop;

  constructor(options: LeasedLoopOptions) {
    const { name, turn, intervalMs, failure, clock, logger } = options;
    const lease = new Lease(options);
    this.#lease = lease;
    this.#loop = new WorkLoop({
      name,
      turn: async (signal) => {
        if (await lease.keep()) await turn({ signal, keep: () => lease.keep() });
        return intervalMs;
      },
      failed: (error) => {
        logger.warn({ err: error }, failure);
        return intervalMs;
      },
      ...(clock === undefined ? {} : { clock }),
    });
  }

  start(): void {
    this.#loop.start();
  }

  /** Resolves when the turn that is under way has ended, and gives the lease back. */
  async close(): Promise<void> {
    await this.#loop.close();
    await this.#lease.release();
  }
}
