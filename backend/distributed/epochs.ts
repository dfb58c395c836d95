import { decode, encode } from 'cborg';

import type { Condition } from '../../s3db/database.ts';
import { ConditionFailedError, UnavailableError } from '../../s3db/errors.ts';
import type { Clock } from '../clock.ts';
import type { GlobalState } from '../global_state.ts';
import type { Logger } from './ports.ts';

const version = 2;
const prefixText = 'epoch/';
const maxMintAttempts = 8;
const defaultLeaseMs = 30 * 60_000;

/** Under this prefix of table `state` lie the epoch rows. FORMAT.md gives key and value. */
export const epochPrefix: Uint8Array = Buffer.from(prefixText);

/** What an epoch row says. */
interface EpochRow {
  readonly holder: string;
  readonly startedMs: number;
  /** A row that stays the same for so long has lost its holder, and an audit may remove it. */
  readonly leaseMs: number;
  /** Nothing is placed under the epoch by an older set of members than this one. */
  readonly membersVersion: number;
}

export interface EpochsOptions {
  readonly state: GlobalState;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Names the process in the rows, for people. */
  readonly holder: string;
  readonly randomBytes: (count: number) => Uint8Array;
  /** A new epoch begins this often (default an hour). */
  readonly rollMs?: number;
  /** How long a row outlives its holder (default 30 minutes); it is renewed three times as often. */
  readonly leaseMs?: number;
  /** An epoch is kept for so long after its last write, for batches on their way (default a minute). */
  readonly lingerMs?: number;
  /** The version of the set of members that writes go by now; an epoch is for one version and those after it. */
  readonly membersVersion?: () => number;
}

/** A write under an epoch. */
export interface EpochUse {
  readonly epoch: bigint;
  /** Must hold in the batch that names what was written. */
  readonly condition: Condition;
  /** The write has returned or failed, and its batch follows soon if at all. */
  release(): void;
}

interface Epoch {
  readonly id: bigint;
  readonly key: Uint8Array;
  readonly startedMs: number;
  /** Monotonic times. */
  readonly sinceMs: number;
  /** How often the row was written: what tells a renewal from a row that nobody cares for. */
  renewals: number;
  leasedUntilMs: number;
  lastUseMs: number;
  uses: number;
  readonly membersVersion: number;
}

/**
 * The epochs of one process. An upload can't be told from an orphan by its age, so every shard carries the epoch it
 * was written under, and every batch that names shards is conditional on that epoch's row: once the row is gone,
 * shards of the epoch that no metadata names never will be named, and an audit may delete them. Rows are rolled
 * hourly and removed after their last upload; those of a dead process run out and are removed by the audit.
 *
 * An epoch also tells by which set of members shards were placed: with a newer set a new epoch begins. Once all rows
 * are of the newest set, no content that is named later can lie on a member that this set takes no shards for.
 */
export class Epochs {
  readonly #options: EpochsOptions;
  readonly #rollMs: number;
  readonly #leaseMs: number;
  readonly #lingerMs: number;
  readonly #epochs = new Map<bigint, Epoch>();
  #current: Epoch | undefined;
  #minting: Promise<Epoch> | undefined;
  #stopTimer: (() => void) | undefined;
  #tending: Promise<void> | undefined;
  #closed = false;

  private constructor(options: EpochsOptions) {
    this.#options = options;
    this.#rollMs = options.rollMs ?? 60 * 60_000;
    this.#leaseMs = options.leaseMs ?? defaultLeaseMs;
    this.#lingerMs = options.lingerMs ?? 60_000;
  }

  /** Starts the renewal; the first epoch is begun by the first write, so that reading needs no row. */
  static open(options: EpochsOptions): Epochs {
    const epochs = new Epochs(options);
    epochs.#schedule();
    return epochs;
  }

  /** The epoch to write under. @throws UnavailableError when a row is needed and can't be written. */
  async acquire(): Promise<EpochUse> {
    if (this.#closed) throw new UnavailableError('the data store is closed');
    const nowMs = this.#options.clock.monotonicMs();
    let epoch = this.#current;
    if (epoch === undefined || this.#isOver(epoch) || nowMs >= epoch.leasedUntilMs) {
      this.#minting ??= this.#mint().finally(() => {
        this.#minting = undefined;
      });
      epoch = await this.#minting;
    }
    epoch.uses += 1;
    return this.#use(epoch);
  }

  /** Stops; rows without uploads are removed, others run out. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#stopTimer?.();
    await this.#tending;
    for (const epoch of this.#epochs.values()) {
      if (epoch.uses === 0) await this.#remove(epoch);
    }
  }

  /** Renews what is held and removes what is done with; runs by itself, and on demand in tests. */
  async tend(): Promise<void> {
    for (const epoch of [...this.#epochs.values()]) {
      const nowMs = this.#options.clock.monotonicMs();
      const over = epoch !== this.#current || this.#isOver(epoch);
      if (over && epoch.uses === 0 && nowMs - epoch.lastUseMs >= this.#lingerMs) await this.#remove(epoch);
      else if (epoch.leasedUntilMs - nowMs <= (this.#leaseMs * 2) / 3) await this.#renew(epoch);
    }
  }

  #isOver(epoch: Epoch): boolean {
    const { clock, membersVersion } = this.#options;
    if (clock.monotonicMs() - epoch.sinceMs >= this.#rollMs) return true;
    return membersVersion !== undefined && membersVersion() > epoch.membersVersion;
  }

  #schedule(): void {
    const everyMs = Math.max(Math.floor(Math.min(this.#leaseMs / 3, this.#lingerMs)), 1);
    this.#stopTimer = this.#options.clock.after(everyMs, () => {
      this.#tending = this.tend().then(() => {
        if (!this.#closed) this.#schedule();
      });
    });
  }

  #use(epoch: Epoch): EpochUse {
    let released = false;
    return {
      epoch: epoch.id,
      condition: { table: 'state', key: epoch.key, exists: true },
      release: () => {
        if (released) return;
        released = true;
        epoch.uses -= 1;
        epoch.lastUseMs = this.#options.clock.monotonicMs();
      },
    };
  }

  async #mint(): Promise<Epoch> {
    for (let attempt = 0; attempt < maxMintAttempts; attempt += 1) {
      // Read before the row is written: the lease ends no later here than it does for others.
      const sinceMs = this.#options.clock.monotonicMs();
      const startedMs = this.#options.clock.nowMs();
      const id = mintId(startedMs, this.#options.randomBytes(3));
      const key = epochKey(id);
      const membersVersion = this.#options.membersVersion?.() ?? 0;
      const value = this.#value({ startedMs, renewals: 0, membersVersion });
      try {
        await this.#options.state.batch({
          conditions: [{ table: 'state', key, exists: false }],
          operations: [{ type: 'put', table: 'state', key, value }],
        });
      } catch (error) {
        if (error instanceof ConditionFailedError) continue;
        throw error;
      }
      const epoch = {
        id,
        key,
        startedMs,
        sinceMs,
        renewals: 0,
        membersVersion,
        leasedUntilMs: sinceMs + this.#leaseMs,
        lastUseMs: sinceMs,
        uses: 0,
      };
      this.#epochs.set(id, epoch);
      this.#current = epoch;
      return epoch;
    }
    throw new UnavailableError('no free epoch number was found');
  }

  async #renew(epoch: Epoch): Promise<void> {
    const sinceMs = this.#options.clock.monotonicMs();
    epoch.renewals += 1;
    const value = this.#value(epoch);
    try {
      await this.#options.state.batch({
        conditions: [{ table: 'state', key: epoch.key, exists: true }],
        operations: [{ type: 'put', table: 'state', key: epoch.key, value }],
      });
      epoch.leasedUntilMs = sinceMs + this.#leaseMs;
    } catch (error) {
      if (error instanceof ConditionFailedError) {
        // Counted as dead by an audit: what is being written under it will be refused, so write under another.
        this.#forget(epoch);
        this.#options.logger.warn({ epoch: epoch.id.toString() }, 'an epoch was taken away');
      } else {
        this.#options.logger.warn(
          { err: error, epoch: epoch.id.toString() },
          'an epoch could not be renewed',
        );
      }
    }
  }

  async #remove(epoch: Epoch): Promise<void> {
    // No write may begin under it while its row is being removed.
    if (this.#current === epoch) this.#current = undefined;
    try {
      await this.#options.state.delete('state', epoch.key);
      this.#epochs.delete(epoch.id);
    } catch (error) {
      this.#options.logger.warn(
        { err: error, epoch: epoch.id.toString() },
        'an epoch could not be removed yet',
      );
    }
  }

  #forget(epoch: Epoch): void {
    this.#epochs.delete(epoch.id);
    if (this.#current === epoch) this.#current = undefined;
  }

  #value(epoch: Pick<Epoch, 'startedMs' | 'renewals' | 'membersVersion'>): Uint8Array {
    const { startedMs, renewals, membersVersion } = epoch;
    return encode([version, this.#options.holder, startedMs, this.#leaseMs, membersVersion, renewals]);
  }
}

/** The key of an epoch's row. */
export function epochKey(epoch: bigint): Uint8Array {
  const id = Buffer.alloc(8);
  id.writeBigUInt64BE(epoch);
  return Buffer.concat([epochPrefix, id]);
}

/** @throws Error when the bytes are no epoch row that this version can read. */
export function decodeEpochRow(value: Uint8Array): EpochRow {
  const fields: unknown = decode(value);
  if (!Array.isArray(fields)) throw new Error('the epoch row is damaged');
  const [rowVersion, holder, startedMs, third, membersVersion] = fields as readonly unknown[];
  if (rowVersion !== version && rowVersion !== 1) throw new Error('the epoch row is of an unknown version');
  if (typeof holder !== 'string' || typeof startedMs !== 'number' || typeof third !== 'number') {
    throw new Error('the epoch row is damaged');
  }
  // The first version had the time at which it ran out, by the holder's clock.
  if (rowVersion === 1) return { holder, startedMs, leaseMs: defaultLeaseMs, membersVersion: 0 };
  if (typeof membersVersion !== 'number') throw new Error('the epoch row is damaged');
  return { holder, startedMs, leaseMs: third, membersVersion };
}

/** The epoch whose row has this key. */
export function epochOfKey(key: Uint8Array): bigint {
  return Buffer.from(key).readBigUInt64BE(epochPrefix.length);
}

/** Milliseconds and 22 random bits: never used twice, so a removed epoch stays removed. Below 2^63. */
function mintId(nowMs: number, random: Uint8Array): bigint {
  const bits = Buffer.from(random).readUIntBE(0, 3) & 0x3fffff;
  return (BigInt(nowMs) << 22n) | BigInt(bits);
}
