/**
 * A shard node's process, as `s3d -node N` has it, but with small segments and eager upkeep: a second of its life
 * meets every kind of write. `node tests/campaign/eager_node.ts CONFIG`
 */
import { loadConfig } from '../../cmd/config/load.ts';
import { parseFlags } from '../../cmd/flags.ts';
import { openIdentity } from '../../cmd/identity.ts';
import { transportDriver } from '../../cmd/transport_driver.ts';
import { listenTransport } from '../../transport/server.ts';
import { shardHandlers } from '../../transport/shard_server.ts';
import { ShardStore } from '../../wal/shard_store.ts';
import { Upkeep } from '../../wal/upkeep.ts';

const mib = 1024 * 1024;
const [configFile = ''] = process.argv.slice(2);
const config = await loadConfig(configFile);
const [node] = config.nodes;
if (node === undefined) throw new Error(`${configFile} has no [[nodes]]`);
const identity = await openIdentity(parseFlags([], {}), config, { make: false });
const store = await ShardStore.open({
  directory: node.path,
  stamp: { clusterId: identity.clusterId, nodeId: node.id },
  log: { segmentSizeBytes: 2 * mib },
  flushIntervalMs: 50,
});
Upkeep.start(store, {
  directory: node.path,
  compactionIntervalMs: 20,
  minDeadFraction: 0.2,
  compactionBytesPerSecond: 64 * mib,
  scrubIntervalMs: 300,
  scrubBytesPerSecond: 64 * mib,
  onScrubbed: ({ damaged }) => {
    if (damaged.length > 0) end(new Error(`scrub found damage: ${JSON.stringify(damaged)}`));
  },
  onError: end,
});
const self = `node-${node.id}`;
await listenTransport({
  driver: transportDriver(config),
  host: node.host,
  port: node.port,
  self,
  clusterId: identity.clusterId,
  secret: identity.secret,
  tls: await identity.certificate(node.host, [self]),
  handlers: shardHandlers(store),
});
const { log, replay } = store.recovery;
if (log.damaged.length + replay.damage.length > 0) {
  end(new Error(`recovery found damage: ${JSON.stringify(store.recovery)}`));
}
process.stderr.write(
  `${JSON.stringify({ cut: log.cut, rebuilt: replay.rebuilt, replayed: replay.records })}\n`,
);
process.stdout.write(`s3d ready https://${node.host}:${node.port}\n`);

/** Whatever goes wrong is what the campaign looks for. */
function end(error: unknown): void {
  process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  process.exit(1);
}
