import { sleep, type Clock } from '../clock.ts';
import type { GlobalState } from '../global_state.ts';
import { Lease } from '../lease.ts';
import type { OrphanAudit } from './orphan_audit.ts';
import type { Logger } from './ports.ts';
import type { RetiredSweep } from './retired_sweep.ts';

export interface AuditWorkerOptions {
  readonly audit: Pick<OrphanAudit, 'auditIfDue'>;
  readonly sweep: Pick<RetiredSweep, 'sweep'>;
  readonly state: GlobalState;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly randomBytes: (count: number) => Uint8Array;
  /** Names this process in the lease. */
  readonly holder: string;
  /** Between two looks (default 15 s). */
  readonly intervalMs?: number;
  /** Default 30 s. */
  readonly leaseMs?: number;
}

const leaseKey = Buffer.from('audit-lease');

/** Frees what lies on nodes and isn't needed there, in one process of the cluster at a time. */
export class AuditWorker {
  readonly #options: AuditWorkerOptions;
  readonly #lease: Lease;
  readonly #stop = new AbortController();
  #running: Promise<void> = Promise.resolve();

  private constructor(options: AuditWorkerOptions) {
    this.#options = options;
    this.#lease = new Lease({ ...options, key: leaseKey, leaseMs: options.leaseMs ?? 30_000 });
  }

  /** Starts working. */
  static open(options: AuditWorkerOptions): AuditWorker {
    const worker = new AuditWorker(options);
    worker.#running = worker.#run();
    return worker;
  }

  /** Stops after the step that is under way, and gives the lease back. */
  async close(): Promise<void> {
    this.#stop.abort(new Error('the audit worker is closed'));
    await this.#running;
    await this.#lease.release();
  }

  async #run(): Promise<void> {
    const { clock, logger, audit, sweep, intervalMs = 15_000 } = this.#options;
    const { signal } = this.#stop;
    const isClosed = (): boolean => signal.aborted;
    const run = { signal, keep: () => this.#lease.keep() };
    while (!isClosed()) {
      try {
        if (await this.#lease.keep()) {
          await sweep.sweep(run);
          await audit.auditIfDue(run);
        }
      } catch (error) {
        if (!isClosed()) logger.warn({ err: error }, 'looking for shards to free was broken off');
      }
      await sleep(intervalMs, { clock, signal });
    }
  }
}
