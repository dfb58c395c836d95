import { randomBytes } from 'node:crypto';
import { EngineContentIndex } from '../backend/distributed/content_index.ts';
import type { DistributedDataStore } from '../backend/distributed/data_store.ts';
import { BytePace } from '../backend/distributed/pace.ts';
import { defaultTiming, systemClock } from '../backend/distributed/ports.ts';
import { RepairScanner } from '../backend/distributed/repair_scanner.ts';
import { RepairWorker } from '../backend/distributed/repair_worker.ts';
import type { GlobalState } from '../backend/global_state.ts';
import type { ProcessContext } from './context.ts';
import type { ShardNodes } from './shard_nodes.ts';

/** Rows of the metadata that the scan for unnoticed gaps looks at in a second, in the whole cluster. */
const scannedRowsPerSecond = 2000;

/**
 * Keeps content whole: one process of the cluster at a time works on the repair queue and looks for what nobody has
 * noticed. Closed before the engine that it works on.
 */
export function startRepair(
  context: ProcessContext,
  parts: {
    readonly data: DistributedDataStore;
    readonly state: GlobalState;
    readonly nodes: ShardNodes;
    readonly holder: string;
  },
): void {
  const { config, lifecycle, logger } = context;
  const { data, state, nodes, holder } = parts;
  const contents = new EngineContentIndex(state);
  const clock = systemClock;
  const scanner = new RepairScanner({
    contents,
    state,
    nodes: () => nodes.members,
    clock,
    timing: defaultTiming,
    logger,
    pace: new BytePace(scannedRowsPerSecond, clock),
  });
  const repairer = data.repairer({ contents, bytesPerSecond: config.repair.rate });
  const worker = RepairWorker.open({ repairer, scanner, state, clock, logger, randomBytes, holder });
  lifecycle.add('repair worker', () => worker.close());
}
