import { loadClusterSecret } from './certificates/cluster_secret.ts';
import { loadConfig } from './config/load.ts';
import { UsageError } from './errors.ts';
import type { Flags } from './flags.ts';
import { openStampedStore } from './shard_nodes.ts';

/** `s3d format -node N`: marks an empty directory as node N's, so that no other node ever uses it. */
export async function formatNode(flags: Flags): Promise<string> {
  const config = await loadConfig(flags.configFile, flags);
  const node = config.nodes.find((entry) => entry.id === flags.node);
  if (node === undefined)
    throw new UsageError(`-node: give the id of one of the [[nodes]] of ${config.file}`);
  const { clusterId } = await loadClusterSecret(config.cluster.secret_file);
  const store = await openStampedStore(node.path, { clusterId, nodeId: node.id });
  await store.close();
  return `${node.path} belongs to node ${node.id} of cluster ${clusterId}`;
}
