import type { Clock } from '../clock.ts';
import type { GlobalState } from '../global_state.ts';
import { LeasedLoop } from '../leased_loop.ts';
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
  readonly #loop: LeasedLoop;

  private constructor(options: AuditWorkerOptions) {
    const { audit, sweep, leaseMs = 30_000, intervalMs = 15_000 } = options;
    this.#loop = new LeasedLoop({
      ...options,
      name: 'the audit worker',
      key: leaseKey,
      leaseMs,
      intervalMs,
      failure: 'looking for shards to free was broken off',
      turn: async (run) => {
        await sweep.sweep(run);
        await audit.auditIfDue(run);
      },
    });
  }

  /** Starts working. */
  static open(options: AuditWorkerOptions): AuditWorker {
    const worker = new AuditWorker(options);
    worker.#loop.start();
    return worker;
  }

  /** Stops after the step that is under way, and gives the lease back. */
  close(): Promise<void> {
    return this.#loop.close();
  }
}
