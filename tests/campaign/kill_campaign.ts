import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { DistributedState } from '../../backend/distributed/distributed_state.ts';
import { auditHaltedKey } from '../../backend/distributed/orphan_audit.ts';
import { loadConfig } from '../../cmd/config/load.ts';
import type { Config } from '../../cmd/config/config.ts';
import { parseFlags } from '../../cmd/flags.ts';
import { openIdentity, type ClusterIdentity } from '../../cmd/identity.ts';
import { DatabaseClient } from '../../s3db/client.ts';
import { TransportError } from '../../transport/errors.ts';
import { dialPeer, type DialedPeer } from '../../transport/peer.ts';
import { certificateName } from '../../transport/peer_name.ts';
import { ShardClient } from '../../transport/shard_client.ts';
import { verifyStore } from '../../wal/inspect.ts';
import type { ShardKey, ShardStorage } from '../../wal/shard_storage.ts';
import { Random } from '../../wal/testing/simulated_disk.ts';
import { ServerProcess } from '../cluster/server_process.ts';
import { writeTestConfig, type TestConfig } from '../cluster/test_config.ts';
import { keyOf, recognise, ShardLedger } from './shard_ledger.ts';
import { loadShards, readShard, type LoadCounts } from './shard_load.ts';

const binary = fileURLToPath(new URL('../../bin/s3d', import.meta.url));
const eagerNode = fileURLToPath(new URL('eager_node.ts', import.meta.url));

export interface KillOptions {
  readonly kills: number;
  readonly seed: number;
  /** Shards that are written, replaced and deleted. */
  readonly names?: number;
  readonly workers?: number;
  /** Each so many lives the process is `bin/s3d` with its usual sizes (and the database beside it); 0: never. */
  readonly binaryEvery?: number;
  /** Each so many lives everything is verified from the segments while nothing runs. */
  readonly verifyEvery?: number;
  readonly onLife?: (life: number, counts: KillCounts) => void;
}

export interface KillCounts extends LoadCounts {
  kills: number;
  /** Kills before the process said that it was ready. */
  early: number;
  /** Shards read in full after a kill and held against what was acknowledged. */
  checked: number;
  /** Times that segments, shards and index were verified against each other. */
  verified: number;
}

interface Campaign {
  readonly options: Required<Omit<KillOptions, 'onLife'>>;
  readonly files: TestConfig;
  readonly config: Config;
  readonly identity: ClusterIdentity;
  readonly random: Random;
  readonly ledger: ShardLedger;
  readonly counts: KillCounts;
}

/**
 * Starts a shard node's process, loads it over the network and kills it with SIGKILL at a random moment, again and
 * again, on the same directory. After each kill every shard must be in a state that was acknowledged last or begun
 * since. @throws Error with seed, life and shard; the directory is kept then
 */
export async function runKillCampaign(options: KillOptions): Promise<KillCounts> {
  const files = await writeTestConfig({ nodes: 1, databases: 1, rs: { data: 1, parity: 0 } });
  await promisify(execFile)(binary, ['certs', '-config', files.file]);
  const config = await loadConfig(files.file);
  const campaign: Campaign = {
    options: { names: 150, workers: 12, binaryEvery: 10, verifyEvery: 20, ...options },
    files,
    config,
    identity: await openIdentity(parseFlags([], {}), config, { make: false }),
    random: new Random(options.seed),
    ledger: new ShardLedger(),
    counts: { kills: 0, early: 0, checked: 0, verified: 0, puts: 0, deletes: 0, gets: 0, unanswered: 0 },
  };
  if (campaign.options.binaryEvery > 0) await haltAudit(campaign);
  for (let life = 1; life <= options.kills; life += 1) {
    try {
      await live(campaign, life);
    } catch (error) {
      const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
      throw new Error(`seed ${options.seed}, life ${life}, ${files.directory}: ${text}`, { cause: error });
    }
    options.onLife?.(life, campaign.counts);
  }
  await verify(campaign);
  await files.remove();
  return campaign.counts;
}

async function live(campaign: Campaign, life: number): Promise<void> {
  const { options, random, counts } = campaign;
  if (life % options.verifyEvery === 0) await verify(campaign);
  if (random.chance(0.1)) {
    await killEarly(campaign);
    return;
  }
  const isBinary = options.binaryEvery > 0 && life % options.binaryEvery === 0;
  const node = await startNode(campaign, isBinary);
  const peer = dialNode(campaign, random.chance(0.5) ? 'http3' : 'http2');
  const client = new ShardClient(peer, { deadlineMs: 60_000 });
  try {
    await peer.connected(60_000);
    await patiently(node, () => checkAll(campaign, client));
    const stop = new AbortController();
    const load = loadShards(client, {
      ...options,
      ledger: campaign.ledger,
      random: () => random.next(),
      counts,
      signal: stop.signal,
    });
    // Whoever sees a wrong answer ends the life at once.
    await Promise.race([sleep(20 + random.below(random.chance(0.2) ? 2500 : 500)), load]);
    if (!node.running) throw new Error('the process ended by itself; see its log');
    await node.kill('SIGKILL');
    stop.abort();
    // QUIC would notice the silence only after seconds.
    await peer.close();
    await load;
    counts.kills += 1;
  } finally {
    await node.kill('SIGKILL');
    await peer.close();
  }
}

/** A busy machine may lose a connection of a process that lives; what was asked is asked again then. */
async function patiently(node: ServerProcess, action: () => Promise<void>): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      await action();
      return;
    } catch (error) {
      if (!(error instanceof TransportError) || !node.running || attempt === 5) throw error;
    }
  }
}

/** Dies while it starts: in recovery, in the replay of the index, or right after it. */
async function killEarly(campaign: Campaign): Promise<void> {
  const { random, counts } = campaign;
  const starting = startNode(campaign, false, 150 + random.below(600));
  const node = await starting.catch((error: unknown) => {
    // The timeout is the kill; an exit of its own is what must not be.
    if (!String(error).includes('was not ready within')) throw error;
    return undefined;
  });
  await node?.kill('SIGKILL');
  counts.kills += 1;
  counts.early += 1;
}

/** No metadata names these shards: the audit of the whole program would rightly delete them as orphans. */
async function haltAudit(campaign: Campaign): Promise<void> {
  const { config, identity } = campaign;
  const [replica] = config.db;
  if (replica === undefined) throw new Error('the config has no database');
  const node = await startNode(campaign, true);
  const database = await DatabaseClient.open({
    endpoints: [
      {
        host: replica.host,
        port: replica.port,
        servername: certificateName(`db-${replica.id}`, identity.clusterId),
      },
    ],
    ca: authorityOf(config),
    region: config.region,
    accessKeyId: replica.access_key_id,
    secretAccessKey: replica.secret_access_key,
  });
  try {
    await new DistributedState(database).set('state', auditHaltedKey, Buffer.of(1));
  } finally {
    await database.close();
    await node.kill('SIGTERM');
  }
}

async function startNode(
  { files, config }: Campaign,
  isBinary: boolean,
  killAfterMs?: number,
): Promise<ServerProcess> {
  const ours = {
    command: process.execPath,
    args: ['--disable-warning=ExperimentalWarning', eagerNode, files.file],
  };
  const theirs = {
    args: ['-backend', 'distributed', '-config', files.file, '-node', '0', '-port', String(config.port)],
  };
  return ServerProcess.start({
    name: 'node-0',
    ...(isBinary ? theirs : ours),
    logFile: join(files.directory, 'node-0.log'),
    readyMs: killAfterMs ?? 300_000,
  });
}

function dialNode({ config, identity }: Campaign, driver: 'http3' | 'http2'): DialedPeer {
  const [node] = config.nodes;
  if (node === undefined) throw new Error('the config has no node');
  return dialPeer({
    driver,
    host: node.host,
    port: node.port,
    peer: `node-${node.id}`,
    self: 'gateway',
    clusterId: identity.clusterId,
    secret: identity.secret,
    tls: { ca: authorityOf(config) },
  });
}

function authorityOf(config: Config): Buffer {
  return readFileSync(join(config.base_path, 'certs', 'ca.pem'));
}

/** Nothing is under way: each shard is in one of the states that it may be in, and in that one from now on. */
async function checkAll({ ledger, counts }: Campaign, storage: ShardStorage): Promise<void> {
  for (const name of ledger.names) {
    const state = recognise(name, { bytes: await readShard(storage, name), possible: ledger.possible(name) });
    ledger.settle(name, state);
    counts.checked += 1;
  }
  const known = new Set(ledger.names.map((name) => textOf(keyOf(name))));
  const found = await storage.scan({ limit: 10_000 });
  const expected = ledger.names.filter((name) => ledger.possible(name)[0] !== undefined).length;
  if (found.length !== expected) throw new Error(`${found.length} shards are listed instead of ${expected}`);
  for (const stat of found) {
    if (!known.has(textOf(stat))) throw new Error(`shard ${textOf(stat)} was never written`);
  }
}

/** While nothing runs: every record, every shard's checksum, and the index against one made from the segments. */
async function verify({ config, counts }: Campaign): Promise<void> {
  const directory = config.nodes[0]?.path ?? '';
  const report = await verifyStore({ directory });
  if (!report.sound) throw new Error(`not sound: ${JSON.stringify(report, readable)}`);
  counts.verified += 1;
}

function textOf(shard: ShardKey): string {
  return `${Buffer.from(shard.objectHash).toString('hex')}/${shard.index}`;
}

function readable(_key: string, value: unknown): unknown {
  return value instanceof Uint8Array ? Buffer.from(value).toString('hex') : value;
}
