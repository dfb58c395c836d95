import { encode } from 'cborg';
import { ConditionFailedError } from '../s3db/errors.ts';
import { systemClock, type Clock } from './clock.ts';
import type { GlobalState } from './global_state.ts';
import { removeUnchanged } from './state_rows.ts';

const version = 1;

export interface LeaseOptions {
  readonly state: GlobalState;
  /** Of the row in table `state` that stands for the work. */
  readonly key: Uint8Array;
  readonly leaseMs: number;
  /** Names the process, for people. */
  readonly holder: string;
  /** Default: the machine's. */
  readonly clock?: Pick<Clock, 'monotonicMs'>;
  readonly logger: { info(fields: Readonly<Record<string, unknown>>, message: string): void };
  readonly randomBytes: (count: number) => Uint8Array;
}

/** How a run of work learns whether it may go on. */
export interface LeasedRun {
  readonly signal: AbortSignal;
  /** Whether this process is still the one that works; renews the lease. */
  readonly keep: () => Promise<boolean>;
}

/**
 * Keeps several processes from doing the same work. The holder changes the row at each renewal; who wants it takes it
 * when the row has stayed the same for the lease's length by its own clock, so clocks needn't agree. It saves work and
 * guards nothing: two holders at once must do no harm.
 */
export class Lease {
  readonly #options: LeaseOptions;
  readonly #clock: Pick<Clock, 'monotonicMs'>;
  readonly #holder: string;
  #renewals = 0;
  #mine: Uint8Array | undefined;
  #renewedMs = 0;
  #seen: { readonly value: Uint8Array; readonly sinceMs: number } | undefined;

  constructor(options: LeaseOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#holder = `${options.holder} ${Buffer.from(options.randomBytes(8)).toString('hex')}`;
  }

  /** Takes the lease, or renews it when a third of it has passed. False: another has it. */
  async keep(): Promise<boolean> {
    if (this.#mine !== undefined && this.#clock.monotonicMs() - this.#renewedMs < this.#options.leaseMs / 3) {
      return true;
    }
    return this.#acquire();
  }

  /** Gives it back, so that another need not wait for it to run out. */
  async release(): Promise<void> {
    const mine = this.#mine;
    if (mine === undefined) return;
    this.#mine = undefined;
    const { state, key } = this.#options;
    try {
      await removeUnchanged(state, { key, value: mine });
    } catch (error) {
      this.#options.logger.info({ err: error }, 'a lease could not be given back; it runs out by itself');
    }
  }

  async #acquire(): Promise<boolean> {
    const { state, key } = this.#options;
    const found = await state.get('state', key);
    const nowMs = this.#clock.monotonicMs();
    if (found !== undefined && !this.#isFree(found, nowMs)) return false;
    this.#renewals += 1;
    const value = encode([version, this.#holder, this.#renewals]);
    try {
      await state.batch({
        conditions: [
          found === undefined
            ? { table: 'state', key, exists: false }
            : { table: 'state', key, equals: found },
        ],
        operations: [{ type: 'put', table: 'state', key, value }],
      });
    } catch (error) {
      this.#mine = undefined;
      if (error instanceof ConditionFailedError) return false;
      throw error;
    }
    this.#mine = value;
    this.#renewedMs = nowMs;
    return true;
  }

  /** Whatever others wrote there, in whichever format, is waited out alike. */
  #isFree(found: Uint8Array, nowMs: number): boolean {
    if (Buffer.from(found).includes(this.#holder)) return true;
    if (this.#seen === undefined || Buffer.compare(this.#seen.value, found) !== 0) {
      this.#seen = { value: found, sinceMs: nowMs };
    }
    return nowMs - this.#seen.sinceMs >= this.#options.leaseMs;
  }
}
