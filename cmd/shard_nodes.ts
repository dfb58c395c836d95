import { listenTransport } from '../transport/server.ts';
import { shardHandlers } from '../transport/shard_server.ts';
import { LogLockedError } from '../wal/errors.ts';
import { StampMismatchError, StampMissingError, type Stamp } from '../wal/shard_errors.ts';
import { ShardStore } from '../wal/shard_store.ts';
import { Upkeep } from '../wal/upkeep.ts';
import { clockHandlers } from './clock_skew.ts';
import type { ProcessContext } from './context.ts';
import { UsageError } from './errors.ts';
import { transportDriver } from './transport_driver.ts';
import type { NodeConfig } from './roles.ts';

const watchMs = 500;
/** Where five stores share a process, what each holds on its way to the disk adds up. */
const developmentUnsyncedBytes = 2 * 1024 * 1024;

/** A shard node of this process. */
export interface OwnNode {
  readonly node: NodeConfig;
  readonly store: ShardStore;
  /** It may have less than the metadata names: opened empty, or with damage. */
  readonly isIncomplete: boolean;
}

/**
 * Opens this process's shard stores, and listens for the other processes. In development mode all nodes are in this
 * process and no port is opened for them.
 */
export async function openOwnNodes(context: ProcessContext): Promise<ReadonlyMap<number, OwnNode>> {
  const own = new Map<number, OwnNode>();
  for (const node of context.roles.nodes) {
    const store = await openStore(context, node);
    if (!context.roles.development) await listen(context, { node, store });
    const { shards } = await store.usage();
    const isIncomplete = shards === 0 || store.recovery.log.damaged.length > 0;
    own.set(node.id, { node, store, isIncomplete });
  }
  return own;
}

/** @throws UsageError for a directory of another node or cluster, or one that another process has open. */
export async function openStampedStore(
  directory: string,
  stamp: Stamp,
  maxUnsyncedBytes?: number,
): Promise<ShardStore> {
  try {
    return await ShardStore.open({
      directory,
      stamp,
      ...(maxUnsyncedBytes === undefined ? {} : { maxUnsyncedBytes }),
    });
  } catch (error) {
    const refused =
      error instanceof StampMismatchError ||
      error instanceof StampMissingError ||
      error instanceof LogLockedError;
    throw refused ? new UsageError(error.message) : error;
  }
}

/** Opens a node's directory, marking it as this node's where it is empty. */
async function openStore(context: ProcessContext, node: NodeConfig): Promise<ShardStore> {
  const { identity, lifecycle, logger, fatal, roles } = context;
  const stamp = { clusterId: identity.clusterId, nodeId: node.id };
  const store = await openStampedStore(
    node.path,
    stamp,
    roles.development ? developmentUnsyncedBytes : undefined,
  );
  lifecycle.add(`shard store of node ${node.id}`, () => store.close());
  const upkeep = Upkeep.start(store, {
    directory: node.path,
    onCompacted: (done) => logger.info({ node: node.id, segments: done.length }, 'segments were compacted'),
    onScrubbed: ({ segments, damaged }) => {
      if (damaged.length === 0) logger.info({ node: node.id, segments }, 'scrub found nothing');
      else logger.error({ node: node.id, segments, damaged: damaged.slice(0, 20) }, 'scrub found damage');
    },
    onError: (error) => logger.error({ node: node.id, err: error }, 'upkeep of the shard store failed'),
  });
  lifecycle.add(`upkeep of node ${node.id}`, () => upkeep.stop());
  const { log } = store.recovery;
  logger.info(
    { node: node.id, path: node.path, segments: log.segments, cut: log.cut, damaged: log.damaged },
    'shard store is open',
  );
  const watch = setInterval(() => {
    if (store.failure === undefined) return;
    clearInterval(watch);
    fatal(
      new Error(`the shard store of node ${node.id} in ${node.path} failed and is not used any more`, {
        cause: store.failure,
      }),
    );
  }, watchMs);
  watch.unref();
  return store;
}

async function listen(
  context: ProcessContext,
  served: { node: NodeConfig; store: ShardStore },
): Promise<void> {
  const { identity, lifecycle, logger, clock, onReload } = context;
  const { node, store } = served;
  const self = `node-${node.id}`;
  const server = await listenTransport({
    driver: transportDriver(context.config),
    host: node.host,
    port: node.port,
    self,
    clusterId: identity.clusterId,
    secret: identity.secret,
    tls: await identity.certificate(node.host, [self]),
    handlers: [shardHandlers(store), clockHandlers(clock)],
    logger,
  });
  lifecycle.add(`transport of node ${node.id}`, () => server.close());
  onReload(`transport of node ${node.id}`, async () =>
    server.reloadCertificates(await identity.certificate(node.host, [self])),
  );
}
