import type { Registry } from 'prom-client';
import { DatabaseClient } from '../s3db/client.ts';
import type { Database } from '../s3db/database.ts';
import { LaneLink } from '../s3db/link/lane_link.ts';
import { S3dbServer } from '../s3db/server.ts';
import type { ProcessContext } from './context.ts';
import { DatabaseStatus } from './database_status.ts';
import { dial } from './dial.ts';
import { urlHost } from './gateway.ts';
import { hostOf, type DbConfig } from './roles.ts';
import { databaseDriver } from './transport_driver.ts';

/** How long a start waits for a leader; a replica of a new cluster waits for all others. */
const readyMs = 120_000;

/** The metadata database as a gateway uses it. */
export interface ConnectedDatabase extends Database {
  readonly status: DatabaseStatus;
}

/** Starts this process's replicas, all at once: each needs the others to be ready. Their metrics go into `registry`. */
export async function startDatabases(
  context: ProcessContext,
  registry: Registry,
): Promise<readonly S3dbServer[]> {
  const servers = await Promise.all(context.roles.dbs.map((db) => openReplica(context, registry, db)));
  await Promise.all(servers.map((server) => server.ready(readyMs)));
  return servers;
}

export function databaseUrl(server: S3dbServer): string {
  return `https://${urlHost(server.host)}:${server.port}`;
}

/**
 * A replica in this process is used directly, as all of them answer alike; otherwise over the transport, to any of them: the
 * cluster's secret proves the gateway, as it does to shard nodes.
 */
export async function connectDatabase(
  context: ProcessContext,
  local: readonly S3dbServer[],
): Promise<ConnectedDatabase> {
  const { lifecycle } = context;
  const { endpoints, options } = await clientOptions(context);
  const status = new DatabaseStatus(endpoints, options);
  lifecycle.add('database status', () => status.close());
  const [replica] = local;
  const database = replica === undefined ? await dialDatabases(context) : replica.database();
  return Object.assign(database, { status });
}

async function dialDatabases(context: ProcessContext): Promise<DatabaseClient> {
  const { config, roles, identity, logger } = context;
  const { ca } = await identity.certificate(hostOf(roles, config));
  const links = config.db.map((db) => {
    const peer = dial(context, {
      driver: databaseDriver(config),
      host: db.host,
      port: db.raft_port,
      peer: `db-${db.id}`,
      ca,
      onState: (state) => logger.info({ db: db.id, state }, 'database replica changed its state'),
    });
    return new LaneLink(`${db.host}:${db.port}`, peer);
  });
  return DatabaseClient.over(links);
}

async function openReplica(context: ProcessContext, registry: Registry, db: DbConfig): Promise<S3dbServer> {
  const { config, identity, lifecycle, logger, fatal, onReload } = context;
  const self = `db-${db.id}`;
  const server = await S3dbServer.open({
    ...addressOf(db),
    directory: db.path,
    peers: config.db.map(addressOf),
    preferredLeaders: config.db.filter((one) => one.leader).map((one) => one.id),
    registry,
    tls: await identity.certificate(db.host, [self]),
    region: config.region,
    credentials: { accessKeyId: db.access_key_id, secretAccessKey: db.secret_access_key },
    transport: { driver: databaseDriver(config), clusterId: identity.clusterId, secret: identity.secret },
    logger,
    onFatal: fatal,
  });
  lifecycle.add(`database ${db.id}`, () => server.close());
  onReload(`database ${db.id}`, async () =>
    server.reloadCertificates(await identity.certificate(db.host, [self])),
  );
  return server;
}

function addressOf(db: DbConfig): {
  id: number;
  host: string;
  port: number;
  raftPort: number;
} {
  return { id: db.id, host: db.host, port: db.port, raftPort: db.raft_port };
}

async function clientOptions(context: ProcessContext): Promise<{
  readonly endpoints: readonly { id: number; host: string; port: number; servername: string }[];
  readonly options: { ca: string; region: string; accessKeyId: string; secretAccessKey: string };
}> {
  const { config, roles, identity } = context;
  const [db] = config.db;
  if (db === undefined) throw new Error('a distributed backend without [[db]]');
  const { ca } = await identity.certificate(hostOf(roles, config));
  return {
    endpoints: config.db.map(({ id, host, port }) => ({
      id,
      host,
      port,
      servername: identity.serverName(`db-${id}`),
    })),
    options: {
      ca,
      region: config.region,
      accessKeyId: db.access_key_id,
      secretAccessKey: db.secret_access_key,
    },
  };
}
