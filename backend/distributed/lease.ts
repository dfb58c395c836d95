import { decode, encode } from 'cborg';

import { ConditionFailedError } from '../../s3db/errors.ts';
import type { Clock } from '../clock.ts';
import type { GlobalState } from '../global_state.ts';
import type { Logger } from './ports.ts';

const version = 1;

/**
 * Keeps several processes from doing the same work. The holder changes the row at each renewal; who wants it takes it
 * when the row has stayed the same for the lease's length by its own clock, so clocks needn't agree. It saves work and
 * guards nothing: two holders at once must do no harm.
 */
export class Lease {
  readonly #options: LeaseOptions;
  readonly #holder: string;
  #renewals = 0;
  #mine: Uint8Array | undefined;
  #renewedMs = 0;
  #seen: { readonly value: Uint8Array; readonly sinceMs: number } | undefined;

  constructor(options: LeaseOptions) {
    this.#options = options;
    this.#holder = `${options.holder} ${Buffer.from(options.randomBytes(8)).toString('hex')}`;
  }

  /** Takes the lease, or renews it when a third of it has passed. False: another has it. */
  async keep(): Promise<boolean> {
    const { clock, leaseMs } = this.#options;
    if (this.#mine !== undefined && clock.monotonicMs() - this.#renewedMs < leaseMs / 3) return true;
    return this.#acquire();
  }

  /** Gives it back, so that another need not wait for it to run out. */
  async release(): Promise<void> {
    const mine = this.#mine;
    if (mine === undefined) return;
    this.#mine = undefined;
    const { state, key } = this.#options;
    try {
      await state.batch({
        conditions: [{ table: 'state', key, equals: mine }],
        operations: [{ type: 'delete', table: 'state', key }],
      });
    } catch (error) {
      this.#options.logger.info({ err: error }, 'a lease could not be given back; it runs out by itself');
    }
  }

  async #acquire(): Promise<boolean> {
    const { state, key, clock } = this.#options;
    const found = await state.get('state', key);
    const nowMs = clock.monotonicMs();
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

  #isFree(found: Uint8Array, nowMs: number): boolean {
    const fields: unknown = decode(found);
    if (Array.isArray(fields) && fields[1] === this.#holder) return true;
    if (this.#seen === undefined || Buffer.compare(this.#seen.value, found) !== 0) {
      this.#seen = { value: found, sinceMs: nowMs };
    }
    return nowMs - this.#seen.sinceMs >= this.#options.leaseMs;
  }
}

interface LeaseOptions {
  readonly state: GlobalState;
  /** Of the row in table `state`. */
  readonly key: Uint8Array;
  readonly leaseMs: number;
  /** Names the process, for people. */
  readonly holder: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly randomBytes: (count: number) => Uint8Array;
}
