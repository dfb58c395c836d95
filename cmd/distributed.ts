import { randomBytes } from 'node:crypto';
import type { Registry } from 'prom-client';
import { systemClock } from '../backend/clock.ts';
import { DistributedDataStore } from '../backend/distributed/data_store.ts';
import { DistributedState } from '../backend/distributed/distributed_state.ts';
import type { MemberRegistry } from '../backend/distributed/member_registry.ts';
import { takesShards, type MemberSet } from '../backend/distributed/members.ts';
import { openEngine, type Engine } from '../backend/engine/engine.ts';
import type { S3dbServer } from '../s3db/server.ts';
import { SkewWatch } from './clock_skew.ts';
import type { Config } from './config/config.ts';
import type { ProcessContext } from './context.ts';
import { connectDatabase, type ConnectedDatabase } from './databases.ts';
import { clusterControl } from './cluster_control.ts';
import { joinDesk } from './join_desk.ts';
import { distributedView } from './distributed_view.ts';
import { openWithKeys, protectionOptions } from './encryption.ts';
import { startGateway } from './gateway.ts';
import { clusterMetrics } from './metrics.ts';
import { engineParts } from './engine_parts.ts';
import type { ReadUsages } from './quotas.ts';
import { startRepair } from './repair.ts';
import { openOwnNodes } from './shard_nodes.ts';
import { LiveNodes } from './live_nodes.ts';
import { openMembership } from './membership.ts';

/** The distributed backend as this process has it, without listeners for clients. */
export interface DistributedParts {
  readonly backend: Engine;
  readonly nodes: LiveNodes;
  readonly registry: MemberRegistry;
  readonly database: ConnectedDatabase;
  readonly state: DistributedState;
  readonly usages: ReadUsages;
}

/** Shard nodes of this process, connections to the others, and the object engine over all of them. */
export async function openDistributed(
  context: ProcessContext,
  process: { readonly databases: readonly S3dbServer[]; readonly metrics: Registry },
): Promise<DistributedParts> {
  const { databases, metrics } = process;
  const { config, roles, lifecycle, logger, clock } = context;
  const own = await openOwnNodes(context);
  const nodes = await LiveNodes.open(context, own);
  const database = await connectDatabase(context, databases);
  const state = new DistributedState(database);
  const [first] = roles.nodes;
  const holder = roles.development || first === undefined ? 'gateway' : `gateway-${first.id}`;
  const data = await DistributedDataStore.open({
    rs: config.rs,
    storageClasses: new Map(config.storage_classes.map(({ name, data, parity }) => [name, { data, parity }])),
    nodes: () => nodes.members,
    state,
    clock: systemClock,
    logger,
    randomBytes,
    holder,
    membersVersion: () => nodes.version,
    epochs: epochTimes(config),
  });
  const { observing, usages } = engineParts(config, { logger, registry: metrics, holder });
  const backend = await openWithKeys(context, () =>
    openEngine({
      type: 'distributed',
      state,
      data,
      region: config.region,
      logger,
      gcDelayMs: config.gc.delay,
      lifecycle: { debugDayMs: config.lifecycle.debug_day },
      // A shard that was moved is freed after the delay: by then nobody reads by its old place.
      contentCacheMs: config.gc.delay / 2,
      storageClasses: config.storage_classes.map(({ name }) => name),
      clock,
      ...observing,
      ...protectionOptions(context),
    }),
  );
  lifecycle.add('object engine', () => backend.close());

  const registry = await openMembership(context, { state, nodes });
  startRepair(context, { data, state, nodes, own, registry, holder });
  return { backend, nodes, database, state, registry, usages };
}

/** How many nodes an object needs at most. */
function mostShards(config: Config): number {
  return Math.max(...[config.rs, ...config.storage_classes].map(({ data, parity }) => data + parity));
}

/** Leases and the time that an epoch outlives its last write follow from how long an epoch is. */
function epochTimes(config: Config): { rollMs: number; leaseMs: number; lingerMs: number } {
  const rollMs = config.gc.epoch;
  return { rollMs, leaseMs: rollMs / 2, lingerMs: Math.min(rollMs / 4, 60_000) };
}

/** The distributed backend behind a gateway. */
export async function startDistributed(
  context: ProcessContext,
  databases: readonly S3dbServer[],
  registry: Registry,
): Promise<{ readonly url: string; readonly lines: readonly string[] }> {
  const { config, lifecycle, logger, clock, identity } = context;
  const {
    backend,
    nodes,
    database,
    state,
    usages,
    registry: members,
  } = await openDistributed(context, { databases, metrics: registry });
  const skew = new SkewWatch({ peers: () => nodes.peers, clock, logger });
  lifecycle.add('clock watch', async () => skew.close());
  void skew.check();
  const view = distributedView({
    clusterId: identity.clusterId,
    nodes: () => nodes.members,
    members: () => members.current,
    databases: () => database.status.read(),
    state,
    rs: config.rs,
    repairRate: config.repair.rate,
  });
  clusterMetrics(registry, { view, skewsMs: () => skew.skewsMs });
  const control = clusterControl({ registry: members, state, shards: mostShards(config) });
  const { url, lines } = await startGateway(context, {
    backend,
    state,
    view,
    registry,
    control,
    usages,
    join: joinDesk(context, members),
  });
  return { url, lines: [...lines, tolerance(config, members.current)] };
}

/** How much may fail at once, in a line. */
function tolerance(config: Config, set: MemberSet): string {
  const { data, parity } = config.rs;
  const nodes = set.members.filter(takesShards);
  const hosts = new Set(nodes.map((node) => node.host)).size;
  const shardsPerHost = Math.ceil((data + parity) / hosts);
  const databases = Math.floor((config.db.length - 1) / 2);
  const spare = Math.max(0, nodes.length - (data + parity));
  return (
    `RS(${data},${parity}) on ${nodes.length} nodes on ${hosts} ${hosts === 1 ? 'host' : 'hosts'}: ${parity} nodes or ${Math.floor(parity / shardsPerHost)} hosts may fail with ` +
    `all objects readable, ${Math.max(0, parity - 1) + spare} nodes with writes going on; ${databases} of ${config.db.length} databases may fail`
  );
}
