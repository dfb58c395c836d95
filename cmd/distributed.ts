import { randomBytes } from 'node:crypto';
import type { Registry } from 'prom-client';
import { DistributedDataStore } from '../backend/distributed/data_store.ts';
import { DistributedState } from '../backend/distributed/distributed_state.ts';
import { systemClock } from '../backend/distributed/ports.ts';
import { openEngine, type Engine } from '../backend/engine/engine.ts';
import type { S3dbServer } from '../s3db/server.ts';
import { SkewWatch } from './clock_skew.ts';
import type { Config } from './config/config.ts';
import type { ProcessContext } from './context.ts';
import { connectDatabase, type ConnectedDatabase } from './databases.ts';
import { distributedView } from './distributed_view.ts';
import { startGateway } from './gateway.ts';
import { clusterMetrics } from './metrics.ts';
import { startRepair } from './repair.ts';
import { startShardNodes, type ShardNodes } from './shard_nodes.ts';

/** The distributed backend as this process has it, without listeners for clients. */
export interface DistributedParts {
  readonly backend: Engine;
  readonly nodes: ShardNodes;
  readonly database: ConnectedDatabase;
  readonly state: DistributedState;
}

/** Shard nodes of this process, connections to the others, and the object engine over all of them. */
export async function openDistributed(
  context: ProcessContext,
  databases: readonly S3dbServer[],
): Promise<DistributedParts> {
  const { config, roles, lifecycle, logger, clock } = context;
  const nodes = await startShardNodes(context);
  const database = await connectDatabase(context, databases);
  const state = new DistributedState(database);
  const [own] = roles.nodes;
  const holder = roles.development || own === undefined ? 'gateway' : `gateway-${own.id}`;
  const data = await DistributedDataStore.open({
    rs: config.rs,
    storageClasses: new Map(config.storage_classes.map(({ name, data, parity }) => [name, { data, parity }])),
    nodes: () => nodes.members,
    state,
    clock: systemClock,
    logger,
    randomBytes,
    holder,
  });
  const backend = await openEngine({
    type: 'distributed',
    state,
    data,
    region: config.region,
    logger,
    gcDelayMs: config.gc.delay,
    storageClasses: config.storage_classes.map(({ name }) => name),
    clock,
  });
  lifecycle.add('object engine', () => backend.close());

  startRepair(context, { data, state, nodes, holder });
  return { backend, nodes, database, state };
}

/** The distributed backend behind a gateway. */
export async function startDistributed(
  context: ProcessContext,
  databases: readonly S3dbServer[],
  registry: Registry,
): Promise<{ readonly url: string; readonly lines: readonly string[] }> {
  const { config, lifecycle, logger, clock, identity } = context;
  const { backend, nodes, database, state } = await openDistributed(context, databases);
  const skew = new SkewWatch({ peers: nodes.peers, clock, logger });
  lifecycle.add('clock watch', async () => skew.close());
  void skew.check();
  const view = distributedView({
    clusterId: identity.clusterId,
    members: nodes.members,
    databases: () => database.status.read(),
    state,
    rs: config.rs,
    repairRate: config.repair.rate,
  });
  clusterMetrics(registry, { nodes: () => view.nodes(), skewsMs: () => skew.skewsMs });
  const { url, lines } = await startGateway(context, { backend, view, registry });
  return { url, lines: [...lines, tolerance(config)] };
}

/** How much may fail at once, in a line. */
function tolerance(config: Config): string {
  const { data, parity } = config.rs;
  const hosts = new Set(config.nodes.map((node) => node.host)).size;
  const shardsPerHost = Math.ceil((data + parity) / hosts);
  const databases = Math.floor((config.db.length - 1) / 2);
  const spare = Math.max(0, config.nodes.length - (data + parity));
  return (
    `RS(${data},${parity}) on ${config.nodes.length} nodes on ${hosts} ${hosts === 1 ? 'host' : 'hosts'}: ${parity} nodes or ${Math.floor(parity / shardsPerHost)} hosts may fail with ` +
    `all objects readable, ${Math.max(0, parity - 1) + spare} nodes with writes going on; ${databases} of ${config.db.length} databases may fail`
  );
}
