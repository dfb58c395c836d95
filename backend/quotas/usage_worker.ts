import { ConditionFailedError } from '../../s3db/errors.ts';
import type { EnginePorts, EngineWorker } from '../engine/engine.ts';
import type { LeasedRun } from '../lease.ts';
import { LeasedLoop } from '../leased_loop.ts';
import { scanPages, type Row } from '../state_rows.ts';
import {
  bucketIdOfUsage,
  decodeUsage,
  encodeUsage,
  gateKey,
  kindOfUsage,
  sumOf,
  totalKey,
  USAGE_LEASE_KEY,
  usagePrefix,
  type Usage,
} from './usage_rows.ts';

const rowsPerPage = 2000;

interface UsageWorkerOptions extends EnginePorts {
  /** Names this process in the lease. */
  readonly holder: string;
  /** Between two passes. */
  readonly intervalMs?: number;
  readonly leaseMs?: number;
}

/** Folds the rows with which changes tell what they add into the totals of their buckets, on one gateway at a time. */
export class UsageWorker implements EngineWorker {
  readonly #options: UsageWorkerOptions;
  readonly #loop: LeasedLoop;

  constructor(options: UsageWorkerOptions) {
    this.#options = options;
    this.#loop = new LeasedLoop({
      name: 'the usage worker',
      turn: (run) => this.#pass(run),
      intervalMs: options.intervalMs ?? 1000,
      failure: 'folding the usage of buckets failed and will be tried again',
      state: options.state,
      key: USAGE_LEASE_KEY,
      leaseMs: options.leaseMs ?? 15_000,
      holder: options.holder,
      logger: options.logger,
      randomBytes: (count) => options.randomBytes(count),
    });
  }

  start(): void {
    this.#loop.start();
  }

  close(): Promise<void> {
    return this.#loop.close();
  }

  async #pass(run: LeasedRun): Promise<void> {
    for await (const page of scanPages(this.#options.state, {
      table: 'state',
      prefix: usagePrefix(),
      limit: rowsPerPage,
    })) {
      if (run.signal.aborted || !(await run.keep())) return;
      const deltas = new Map<string, Row[]>();
      for (const row of page.items) {
        if (kindOfUsage(row.key) !== 'delta') continue;
        const id = Buffer.from(bucketIdOfUsage(row.key)).toString('hex');
        const rows = deltas.get(id);
        if (rows === undefined) deltas.set(id, [row]);
        else rows.push(row);
      }
      for (const [id, rows] of deltas) await this.#fold(Buffer.from(id, 'hex'), rows);
    }
  }

  /** A total of nothing is dropped, and the gate with it: so nothing stays of buckets that are gone. */
  async #fold(bucketId: Uint8Array, rows: readonly Row[]): Promise<void> {
    const { state } = this.#options;
    const key = totalKey(bucketId);
    const before = await state.get('state', key);
    const [first] = rows;
    if (first === undefined) return;
    const none: Usage = { bucket: decodeUsage(first.value).bucket, bytes: 0, versions: 0 };
    const total = rows
      .map((row) => decodeUsage(row.value))
      .reduce(sumOf, before === undefined ? none : decodeUsage(before));
    const empty = total.bytes === 0 && total.versions === 0;
    try {
      await state.batch({
        conditions: [
          before === undefined
            ? { table: 'state', key, exists: false }
            : { table: 'state', key, equals: before },
          // Folded meanwhile by another that believes to hold the lease, a row must not count twice.
          ...rows.map((row) => ({ table: 'state', key: row.key, exists: true })),
        ],
        operations: [
          ...(empty
            ? [
                { type: 'delete' as const, table: 'state', key },
                { type: 'delete' as const, table: 'state', key: gateKey(bucketId) },
              ]
            : [{ type: 'put' as const, table: 'state', key, value: encodeUsage(total) }]),
          ...rows.map((row) => ({ type: 'delete' as const, table: 'state', key: row.key })),
        ],
      });
    } catch (error) {
      // The next pass reads anew.
      if (!(error instanceof ConditionFailedError)) throw error;
    }
  }
}
