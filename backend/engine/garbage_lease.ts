import { ConditionFailedError } from '../../s3db/errors.ts';
import type { EngineContext } from './context.ts';
import { mintId } from './ids.ts';
import { decodeRecord, encodeRecord } from './record.ts';
import { STATE_KEYS } from './row_keys.ts';

const VERSION = 1;

/**
 * Keeps several gateways from doing the same work. The holder changes the row at each renewal; who wants it takes it
 * when the row has stayed the same for the lease's length by its own clock, so clocks needn't agree. It saves work
 * and guards nothing: two holders at once do no harm.
 */
export class GarbageLease {
  readonly #context: EngineContext;
  readonly #leaseMs: number;
  readonly #holder: Uint8Array;
  #renewals = 0;
  #mine: Uint8Array | undefined;
  #renewedMs = 0;
  #others: { readonly bytes: Uint8Array; readonly seenMs: number } | undefined;

  readonly #key: Uint8Array;

  /** @param key the row in `state` that stands for the work. */
  constructor(context: EngineContext, leaseMs: number, key: Uint8Array = STATE_KEYS.garbageLease()) {
    this.#context = context;
    this.#leaseMs = leaseMs;
    this.#key = key;
    this.#holder = mintId(context);
  }

  async #acquire(): Promise<boolean> {
    const key = this.#key;
    const found = await this.#context.state.get('state', key);
    const nowMs = performance.now();
    if (found !== undefined && !this.#isMine(found) && !this.#hasExpired(found, nowMs)) return false;
    const value = encodeRecord(VERSION, { holder: this.#holder, renewals: ++this.#renewals });
    try {
      await this.#context.state.batch({
        conditions: [
          found === undefined
            ? { table: 'state', key, exists: false }
            : { table: 'state', key, equals: found },
        ],
        operations: [{ type: 'put', table: 'state', key, value }],
      });
    } catch (error) {
      if (error instanceof ConditionFailedError) return false;
      throw error;
    }
    this.#mine = value;
    this.#renewedMs = nowMs;
    return true;
  }

  /** Takes the lease, or renews it when a third of it has passed. False: another gateway has it, don't work. */
  async keep(): Promise<boolean> {
    if (this.#mine !== undefined && performance.now() - this.#renewedMs < this.#leaseMs / 3) return true;
    return this.#acquire();
  }

  async release(): Promise<void> {
    if (this.#mine === undefined) return;
    const key = this.#key;
    const mine = this.#mine;
    this.#mine = undefined;
    try {
      await this.#context.state.batch({
        conditions: [{ table: 'state', key, equals: mine }],
        operations: [{ type: 'delete', table: 'state', key }],
      });
    } catch (error) {
      // It runs out by itself.
      this.#context.logger.debug({ err: error }, 'the garbage lease could not be given back');
    }
  }

  #isMine(found: Uint8Array): boolean {
    const fields = decodeRecord(found, { kind: 'garbage lease', newest: VERSION });
    return Buffer.compare(fields.bytes('holder'), this.#holder) === 0;
  }

  #hasExpired(found: Uint8Array, nowMs: number): boolean {
    if (this.#others === undefined || Buffer.compare(this.#others.bytes, found) !== 0) {
      this.#others = { bytes: found, seenMs: nowMs };
    }
    return nowMs - this.#others.seenMs >= this.#leaseMs;
  }
}
