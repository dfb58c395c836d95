import { randomBytes } from 'node:crypto';
import { systemClock } from '../backend/clock.ts';
import { AuditWorker } from '../backend/distributed/audit_worker.ts';
import { EngineContentIndex } from '../backend/distributed/content_index.ts';
import { DamageWatch } from '../backend/distributed/damage_watch.ts';
import type { DistributedDataStore } from '../backend/distributed/data_store.ts';
import type { MemberRegistry } from '../backend/distributed/member_registry.ts';
import { finishEmptying } from '../backend/distributed/members.ts';
import { OrphanAudit } from '../backend/distributed/orphan_audit.ts';
import { BytePace } from '../backend/distributed/pace.ts';
import { defaultTiming } from '../backend/distributed/ports.ts';
import { Rebalancer } from '../backend/distributed/rebalancer.ts';
import { RepairScanner, scanWanted } from '../backend/distributed/repair_scanner.ts';
import { RepairWorker } from '../backend/distributed/repair_worker.ts';
import { RetiredSweep } from '../backend/distributed/retired_sweep.ts';
import type { GlobalState } from '../backend/global_state.ts';
import type { ProcessContext } from './context.ts';
import type { LiveNodes } from './live_nodes.ts';
import type { OwnNode } from './shard_nodes.ts';

/** Rows of the metadata that the scan for unnoticed gaps looks at in a second, in the whole cluster. */
const scannedRowsPerSecond = 2000;
/** Shards that the audit looks at in a second, in the whole cluster. */
const auditedShardsPerSecond = 5000;
const longestAuditIntervalMs = 15_000;

interface KeptParts {
  readonly data: DistributedDataStore;
  readonly state: GlobalState;
  readonly nodes: LiveNodes;
  readonly own: ReadonlyMap<number, OwnNode>;
  readonly registry: MemberRegistry;
  readonly holder: string;
}

/**
 * Keeps content whole and where it belongs: one process of the cluster at a time works on the repair queue, looks for
 * what nobody has noticed, moves content to where the members of today would have it, and frees what lies on nodes
 * for nothing. Closed before the engine that it works on.
 */
export function startRepair(context: ProcessContext, parts: KeptParts): void {
  const { config, lifecycle, logger } = context;
  const { data, state, nodes, registry, holder } = parts;
  const contents = new EngineContentIndex(state);
  const clock = systemClock;
  const timing = defaultTiming;
  const members = (): LiveNodes['members'] => nodes.members;
  const ports = { contents, state, nodes: members, clock, timing, logger };
  const rowPace = new BytePace(scannedRowsPerSecond, clock);
  const scanner = new RepairScanner({ ...ports, pace: rowPace });
  const { repairer, mover } = data.keepers({ contents, pace: new BytePace(config.repair.rate, clock) });
  const rebalancer = new Rebalancer({
    ...ports,
    mover,
    members: () => registry.current,
    onEmptied: async (emptied) => {
      await registry.change((set) => {
        const still = emptied.filter((member) =>
          set.members.some((now) => now.id === member.id && now.sinceVersion === member.sinceVersion),
        );
        return still.length === 0
          ? set
          : finishEmptying(
              set,
              still.map((member) => member.id),
            );
      });
      logger.info({ nodes: emptied.map((member) => member.id) }, 'nodes are empty and may be switched off');
    },
    pace: rowPace,
    downMs: config.repair.down_after,
  });
  const worker = RepairWorker.open({ ...ports, repairer, scanner, rebalancer, randomBytes, holder });
  lifecycle.add('repair worker', () => worker.close());

  const audit = new OrphanAudit({
    ...ports,
    pace: new BytePace(auditedShardsPerSecond, clock),
    everyMs: 24 * 3_600_000,
  });
  const sweep = new RetiredSweep({ ...ports, delayMs: config.gc.delay });
  const auditor = AuditWorker.open({
    ...ports,
    audit,
    sweep,
    randomBytes,
    holder,
    intervalMs: Math.max(1000, Math.min(longestAuditIntervalMs, config.gc.delay / 2, config.gc.epoch / 8)),
  });
  lifecycle.add('audit worker', () => auditor.close());

  for (const [node, { store, isIncomplete }] of parts.own) {
    const watch = DamageWatch.open({ node, damaged: () => store.damaged(), contents, state, clock, logger });
    lifecycle.add(`damage watch of node ${node}`, () => watch.close());
    if (isIncomplete) askForScan(context, { state, node });
  }
}

/** A node that has less than it had, or can't tell, is compared with the metadata soon, not just when it is time. */
function askForScan(
  context: ProcessContext,
  of: { readonly state: GlobalState; readonly node: number },
): void {
  const { logger, lifecycle } = context;
  let timer: NodeJS.Timeout | undefined;
  let asking: Promise<void> = Promise.resolve();
  const ask = async (): Promise<void> => {
    try {
      await of.state.batch({ conditions: [], operations: [scanWanted(of.node, randomBytes(8))] });
    } catch (error) {
      logger.info({ err: error, node: of.node }, 'a scan for missing shards could not be asked for yet');
      timer = setTimeout(start, 5000);
      timer.unref();
    }
  };
  const start = (): void => {
    asking = ask();
  };
  lifecycle.add(`scan request of node ${of.node}`, async () => {
    await asking;
    clearTimeout(timer);
  });
  start();
}
