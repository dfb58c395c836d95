import type { Clock } from '../clock.ts';
import type { GlobalState } from '../global_state.ts';
import { Lease } from '../lease.ts';
import { removeUnchanged, scanPages, type Row } from '../state_rows.ts';
import { WorkLoop } from '../work_loop.ts';
import { decodeLocator } from './locator.ts';
import type { Logger } from './ports.ts';
import { decodeRepairRow, repairPrefix } from './repair_rows.ts';
import type { Rebalancer } from './rebalancer.ts';
import type { RepairScanner } from './repair_scanner.ts';
import type { Repairer } from './repairer.ts';

export interface RepairWorkerOptions {
  readonly repairer: Pick<Repairer, 'repair' | 'isWorthwhile'>;
  /** Looks now and then whether anything is missing that nobody noticed. */
  readonly scanner?: RepairScanner;
  /** Brings content to where it belongs, once nothing is short. */
  readonly rebalancer?: Pick<Rebalancer, 'turn'>;
  readonly state: GlobalState;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly randomBytes: (count: number) => Uint8Array;
  /** Names this process in the lease. */
  readonly holder: string;
  /** Pause after a pass over the queue (default 5 s). */
  readonly idleMs?: number;
  /** Default 30 s. */
  readonly leaseMs?: number;
  /** Contents worked on at once (default 4). */
  readonly atOnce?: number;
}

/** What the worker did since it was opened. */
interface RepairProgress {
  readonly repaired: number;
  /** Rows of the last pass that are still there. */
  readonly waiting: number;
  readonly failed: number;
}

const rowsPerPage = 200;
/** Repairs are looked for so often while content is moved. */
const rebalanceTurnMs = 5000;
const passMs = 60_000;
const defaultIdleMs = 5000;
const leaseKey = Buffer.from('repair-lease');

/**
 * Works on the repair queue, most endangered content first, while it holds the lease; one of all processes does.
 * Nothing is remembered but the rows: a worker that dies is followed by another that begins at the front.
 */
export class RepairWorker {
  readonly #options: RepairWorkerOptions;
  readonly #lease: Lease;
  readonly #loop: WorkLoop;
  #pauseMs: number;
  #repaired = 0;
  /** As of the last pause. */
  #repairedBefore = 0;
  #waiting = 0;
  #failed = 0;

  private constructor(options: RepairWorkerOptions) {
    this.#options = options;
    this.#lease = new Lease({
      state: options.state,
      key: leaseKey,
      leaseMs: options.leaseMs ?? 30_000,
      holder: options.holder,
      clock: options.clock,
      logger: options.logger,
      randomBytes: options.randomBytes,
    });
    this.#pauseMs = options.idleMs ?? defaultIdleMs;
    this.#loop = new WorkLoop({
      name: 'the repair worker',
      turn: async (signal) => {
        const more = await this.#turn(signal);
        const pauseMs = this.#nextPauseMs();
        // What was found short meanwhile goes first.
        return more ? 0 : pauseMs;
      },
      failed: (error) => {
        options.logger.warn({ err: error }, 'a pass over the repair queue was broken off');
        return this.#nextPauseMs();
      },
      clock: options.clock,
    });
  }

  /** Starts working. */
  static open(options: RepairWorkerOptions): RepairWorker {
    const worker = new RepairWorker(options);
    worker.#loop.start();
    return worker;
  }

  get progress(): RepairProgress {
    return { repaired: this.#repaired, waiting: this.#waiting, failed: this.#failed };
  }

  /** Stops after what is under way has been given up, and gives the lease back. */
  async close(): Promise<void> {
    await this.#loop.close();
    await this.#lease.release();
  }

  /** Whether there is more to do at once. */
  async #turn(signal: AbortSignal): Promise<boolean> {
    const run = { signal, keep: () => this.#lease.keep() };
    if (!(await run.keep())) return false;
    await this.#options.scanner?.scanIfDue(run);
    const passed = await this.#pass();
    const outcome = await this.#options.rebalancer?.turn({ ...run, turnMs: rebalanceTurnMs });
    return outcome === 'more' || !passed;
  }

  /** Rows that wait for nodes to come back are not asked for as often as new ones. */
  #nextPauseMs(): number {
    const { idleMs = defaultIdleMs } = this.#options;
    const moved = this.#repaired > this.#repairedBefore;
    this.#repairedBefore = this.#repaired;
    this.#pauseMs = this.#waiting === 0 || moved ? idleMs : Math.min(2 * this.#pauseMs, 4 * idleMs);
    return this.#pauseMs;
  }

  #isClosed(): boolean {
    return this.#loop.signal.aborted;
  }

  /** False: time is up. What became endangered meanwhile comes first then. */
  async #pass(): Promise<boolean> {
    const { clock } = this.#options;
    const endMs = clock.monotonicMs() + passMs;
    let waiting = 0;
    for await (const page of scanPages(this.#options.state, {
      table: 'state',
      prefix: repairPrefix,
      limit: rowsPerPage,
    })) {
      const rows = [...page.items].reverse();
      const lanes = Array.from({ length: this.#options.atOnce ?? 4 }, async () => {
        for (let row = rows.pop(); row !== undefined; row = rows.pop()) {
          if (this.#isClosed() || !(await this.#lease.keep())) return;
          if (!(await this.#work(row))) waiting += 1;
        }
      });
      await Promise.all(lanes);
      if (page.next !== undefined && clock.monotonicMs() >= endMs) return false;
      if (this.#isClosed()) break;
    }
    this.#waiting = waiting;
    return true;
  }

  /** Whether the row is done with. */
  async #work(item: Row): Promise<boolean> {
    const { signal } = this.#loop;
    try {
      const row = decodeRepairRow(item.value);
      if (!this.#options.repairer.isWorthwhile(row)) return false;
      const { contentId } = decodeLocator(row.locator);
      const outcome = await this.#options.repairer.repair(contentId, { suspected: row.missing, signal });
      if (outcome === 'waiting') return false;
      if (outcome === 'whole') this.#repaired += 1;
      // Unless something new was found meanwhile.
      await removeUnchanged(this.#options.state, item);
      return true;
    } catch (error) {
      if (this.#isClosed()) return false;
      this.#failed += 1;
      this.#options.logger.warn(
        { err: error, row: Buffer.from(item.key.subarray(repairPrefix.length)).toString('hex') },
        'content could not be repaired yet',
      );
      return false;
    }
  }
}
