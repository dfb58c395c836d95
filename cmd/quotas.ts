import { randomBytes } from 'node:crypto';
import { Gauge, type Registry } from 'prom-client';
import type { EngineOptions, EnginePorts } from '../backend/engine/engine.ts';
import { QuotaObserver } from '../backend/quotas/quota_observer.ts';
import { readUsages } from '../backend/quotas/read_usage.ts';
import type { Usage } from '../backend/quotas/usage_rows.ts';
import { UsageWorker } from '../backend/quotas/usage_worker.ts';

/** More rows than this are not read for a look at what buckets hold: the rest is left out. */
const maxRows = 100_000;

export type ReadUsages = () => Promise<readonly Usage[]>;

/** What the engine needs to count what buckets hold, and what reads the counts. */
export function quotaParts(options: {
  readonly registry: Registry;
  readonly holder: string;
}): Required<Pick<EngineOptions, 'observers' | 'workers'>> & { readonly usages: ReadUsages } {
  let state: EnginePorts['state'] | undefined;
  const usages: ReadUsages = async () => (state === undefined ? [] : readUsages(state, { maxRows }));
  usageMetrics(options.registry, usages);
  return {
    usages,
    observers: [(ports) => new QuotaObserver({ ...ports, randomBytes }).observe],
    workers: [
      (ports) => {
        state = ports.state;
        return new UsageWorker({ ...ports, holder: options.holder });
      },
    ],
  };
}

function usageMetrics(registry: Registry, usages: ReadUsages): void {
  const registers = [registry];
  const versions = new Gauge({
    name: 's3d_bucket_versions',
    help: 'Objects that a bucket holds, each of its versions counted',
    labelNames: ['bucket'],
    registers,
  });
  new Gauge({
    name: 's3d_bucket_bytes',
    help: 'Bytes of all objects and versions that a bucket holds',
    labelNames: ['bucket'],
    registers,
    async collect() {
      this.reset();
      versions.reset();
      for (const usage of await usages()) {
        this.set({ bucket: usage.bucket }, usage.bytes);
        versions.set({ bucket: usage.bucket }, usage.versions);
      }
    },
  });
}
