import { mkdir } from 'node:fs/promises';
import { applyBatches } from '../s3db/batch_round.ts';
import type { Batch, ScanPage, ScanRequest } from '../s3db/database.ts';
import { ConditionFailedError, UnavailableError, UnknownOutcomeError } from '../s3db/errors.ts';
import {
  getRow,
  openBytesLevel,
  tablePrefix,
  validateBatch,
  ValueDamagedError,
  type BytesLevel,
} from '../s3db/level_tables.ts';
import { scanLevel } from '../s3db/scan.ts';
import type { GlobalState, Table } from './global_state.ts';
import { scanPages } from './state_rows.ts';

const maxWaitingBatches = 10_000;
const maxBatchesPerRound = 256;
const maxItemsPerRound = 40_000;
const keysPerPage = 1000;

interface Waiting {
  readonly batch: Batch;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/**
 * GlobalState in a Level of this process alone. Batches are applied one after another; those that wait while one
 * is written share the next synced write. After a failed write it refuses everything: what the disk holds is then
 * unknown until the process starts anew.
 */
export class LocalState implements GlobalState {
  readonly #level: BytesLevel;
  readonly #waiting: Waiting[] = [];
  #running: Promise<void> | undefined;
  #dead: Error | undefined;
  #closed = false;

  private constructor(level: BytesLevel) {
    this.#level = level;
  }

  /** Opens the Level in `directory`, making it if need be; it is locked against other processes. */
  static async open(directory: string): Promise<LocalState> {
    await mkdir(directory, { recursive: true });
    return new LocalState(await openBytesLevel(directory));
  }

  async get(table: Table, key: Uint8Array): Promise<Uint8Array | undefined> {
    this.#assertUsable();
    return getRow(this.#level, table, key);
  }

  async set(table: Table, key: Uint8Array, value: Uint8Array): Promise<void> {
    await this.batch({ conditions: [], operations: [{ type: 'put', table, key, value }] });
  }

  async delete(table: Table, key: Uint8Array): Promise<void> {
    await this.batch({ conditions: [], operations: [{ type: 'delete', table, key }] });
  }

  async exists(table: Table, key: Uint8Array): Promise<boolean> {
    return (await this.get(table, key)) !== undefined;
  }

  async *listKeys(table: Table, prefix: Uint8Array): AsyncIterable<Uint8Array> {
    for await (const page of scanPages(this, { table, prefix, limit: keysPerPage })) {
      for (const { key } of page.items) yield key;
    }
  }

  async scan(request: ScanRequest & { readonly table: Table }): Promise<ScanPage> {
    this.#assertUsable();
    return scanLevel(this.#level, tablePrefix(request.table), request);
  }

  async batch(batch: Batch): Promise<void> {
    this.#assertUsable();
    validateBatch(batch);
    if (this.#waiting.length >= maxWaitingBatches) {
      throw new UnavailableError(`${maxWaitingBatches} batches are waiting already`);
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ batch, resolve, reject });
      this.#running ??= this.#run();
    });
  }

  /** Applies what waits, then closes the Level. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#running;
    await this.#level.close();
  }

  async #run(): Promise<void> {
    // Let batches of the same turn gather.
    await Promise.resolve();
    while (this.#waiting.length > 0) await this.#applyRound(this.#takeRound());
    this.#running = undefined;
  }

  #takeRound(): Waiting[] {
    let items = 0;
    let count = 0;
    for (const { batch } of this.#waiting) {
      items += batch.conditions.length + batch.operations.length;
      if (count > 0 && (items > maxItemsPerRound || count >= maxBatchesPerRound)) break;
      count++;
    }
    return this.#waiting.splice(0, count);
  }

  async #applyRound(round: readonly Waiting[]): Promise<void> {
    if (this.#dead !== undefined) {
      for (const { reject } of round)
        reject(new UnavailableError('the state file failed', { cause: this.#dead }));
      return;
    }
    try {
      const answers = await applyBatches(
        this.#level,
        round.map(({ batch }) => batch),
      );
      round.forEach(({ resolve, reject }, i) => {
        const failed: ConditionFailedError | undefined = answers[i];
        if (failed === undefined) resolve();
        else reject(failed);
      });
    } catch (error) {
      await this.#failRound(round, error);
    }
  }

  /** A damaged row fails only the batch that asked about it; any other error is the disk's and ends the state. */
  async #failRound(round: readonly Waiting[], error: unknown): Promise<void> {
    const cause = error instanceof Error ? error : new Error(String(error));
    if (!(cause instanceof ValueDamagedError)) {
      this.#dead = cause;
      for (const { reject } of round)
        reject(new UnknownOutcomeError('writing the state file failed', { cause }));
      return;
    }
    const [only, ...rest] = round;
    if (only !== undefined && rest.length === 0) {
      only.reject(cause);
      return;
    }
    for (const waiting of round) await this.#applyRound([waiting]);
  }

  #assertUsable(): void {
    if (this.#closed) throw new UnavailableError('the state is closed');
    if (this.#dead !== undefined) throw new UnavailableError('the state file failed', { cause: this.#dead });
  }
}
