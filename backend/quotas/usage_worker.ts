import { setTimeout as delay } from 'node:timers/promises';
import { ConditionFailedError } from '../../s3db/errors.ts';
import type { EnginePorts, EngineWorker } from '../engine/engine.ts';
import { Lease } from '../lease.ts';
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

interface Row {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

/** Folds the rows with which changes tell what they add into the totals of their buckets, on one gateway at a time. */
export class UsageWorker implements EngineWorker {
  readonly #options: UsageWorkerOptions;
  readonly #lease: Lease;
  readonly #stopping = new AbortController();
  #running: Promise<void> | undefined;

  constructor(options: UsageWorkerOptions) {
    this.#options = options;
    this.#lease = new Lease({
      state: options.state,
      key: USAGE_LEASE_KEY,
      leaseMs: options.leaseMs ?? 15_000,
      holder: options.holder,
      logger: options.logger,
      randomBytes: (count) => options.randomBytes(count),
    });
  }

  start(): void {
    this.#running ??= this.#run();
  }

  async close(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
    await this.#lease.release();
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    const { logger, intervalMs = 1000 } = this.#options;
    while (!signal.aborted) {
      try {
        if (await this.#lease.keep()) await this.#pass(signal);
      } catch (error) {
        logger.warn({ err: error }, 'folding the usage of buckets failed and will be tried again');
      }
      await pause(intervalMs, signal);
    }
  }

  async #pass(signal: AbortSignal): Promise<void> {
    let startAfter: Uint8Array | undefined;
    do {
      if (signal.aborted || !(await this.#lease.keep())) return;
      const page = await this.#options.state.scan({
        table: 'state',
        prefix: usagePrefix(),
        limit: rowsPerPage,
        ...(startAfter === undefined ? {} : { startAfter }),
      });
      const deltas = new Map<string, Row[]>();
      for (const row of page.items) {
        if (kindOfUsage(row.key) !== 'delta') continue;
        const id = Buffer.from(bucketIdOfUsage(row.key)).toString('hex');
        const rows = deltas.get(id);
        if (rows === undefined) deltas.set(id, [row]);
        else rows.push(row);
      }
      for (const [id, rows] of deltas) await this.#fold(Buffer.from(id, 'hex'), rows);
      startAfter = page.next;
    } while (startAfter !== undefined);
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

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  try {
    await delay(ms, undefined, { signal });
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}
