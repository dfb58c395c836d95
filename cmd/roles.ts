import { networkInterfaces } from 'node:os';
import type { Config } from './config/config.ts';
import { UsageError } from './errors.ts';
import type { Flags } from './flags.ts';

export type DbConfig = Config['db'][number];
export type NodeConfig = Config['nodes'][number];

/** What this process runs. */
export interface Roles {
  readonly gateway: boolean;
  readonly nodes: readonly NodeConfig[];
  readonly dbs: readonly DbConfig[];
  /** Every node of the config in one process. */
  readonly development: boolean;
}

/** Whether an address of the config is this machine's. Injected so that the rules can be tested. */
export type IsLocal = (host: string) => boolean;

/**
 * Chooses this process's roles from flags and config.
 * @throws UsageError naming the flag and what would be right.
 */
export function chooseRoles(flags: Flags, config: Config, isLocal: IsLocal = isLocalAddress): Roles {
  const dbs = config.db;
  if (flags.dbOnly) {
    return { gateway: false, nodes: [], dbs: [chooseDb(flags, config, dbs, isLocal)], development: false };
  }
  if (flags.backend === 'filesystem') {
    if (flags.node !== -1)
      throw new UsageError('-node: the filesystem backend has no shard nodes; add -backend distributed');
    return { gateway: true, nodes: [], dbs: [], development: false };
  }
  return flags.node === -1 ? developmentRoles(flags, config, dbs, isLocal) : nodeRoles(flags, config, dbs);
}

function chooseDb(flags: Flags, config: Config, dbs: readonly DbConfig[], isLocal: IsLocal): DbConfig {
  if (flags.dbNode !== -1) return dbById(flags, config, dbs);
  const here = dbs.filter((db) => isLocal(db.host));
  const [only] = here;
  if (here.length === 1 && only !== undefined) return only;
  if (here.length === 0)
    throw new UsageError(`-db: ${config.file} has no [[db]] on this host; give one with -db-node ID`);
  const ids = here.map((db) => db.id).join(', ');
  throw new UsageError(
    `-db: ${config.file} has several [[db]] on this host (ids ${ids}); choose one with -db-node ID`,
  );
}

function dbById(flags: Flags, config: Config, dbs: readonly DbConfig[]): DbConfig {
  const found = dbs.find((db) => db.id === flags.dbNode);
  if (found !== undefined) return found;
  const ids = dbs.map((db) => db.id).join(', ');
  throw new UsageError(
    `-db-node: ${config.file} has no [[db]] with id ${flags.dbNode}; it has ${ids === '' ? 'none' : ids}`,
  );
}

function developmentRoles(flags: Flags, config: Config, dbs: readonly DbConfig[], isLocal: IsLocal): Roles {
  if (config.nodes.length === 0) {
    throw new UsageError(
      `${config.file}: nodes: the distributed backend needs at least data + parity [[nodes]]`,
    );
  }
  const elsewhere = [...config.nodes, ...dbs]
    .filter((entry) => !isLocal(entry.host))
    .map((entry) => entry.host);
  if (elsewhere.length > 0) {
    const hosts = [...new Set(elsewhere)].join(', ');
    throw new UsageError(
      `-node: ${config.file} names other hosts (${hosts}); say which node this is with -node N`,
    );
  }
  const chosen = flags.dbNode === -1 ? dbs : [dbById(flags, config, dbs)];
  return { gateway: true, nodes: config.nodes, dbs: chosen, development: true };
}

function nodeRoles(flags: Flags, config: Config, dbs: readonly DbConfig[]): Roles {
  const node = config.nodes.find((entry) => entry.id === flags.node);
  if (node === undefined) {
    const ids = config.nodes.map((entry) => entry.id).join(', ');
    throw new UsageError(
      `-node: ${config.file} has no [[nodes]] with id ${flags.node}; it has ${ids === '' ? 'none' : ids}`,
    );
  }
  if (dbs.length === 0) {
    throw new UsageError(
      `-node ${flags.node}: ${config.file} has no [[db]], and a database of this node's own would make a cluster of its own; add [[db]]`,
    );
  }
  if (flags.dbNode !== -1)
    return { gateway: true, nodes: [node], dbs: [dbById(flags, config, dbs)], development: false };
  const alone = config.nodes.filter((entry) => entry.host === node.host).length === 1;
  const beside = dbs.filter((db) => db.host === node.host);
  return {
    gateway: true,
    nodes: [node],
    dbs: alone && beside.length === 1 ? beside : [],
    development: false,
  };
}

/** Loopback, or an address of one of this machine's interfaces. Names other than localhost count as other hosts. */
function isLocalAddress(host: string): boolean {
  if (isLoopback(host) || host === '0.0.0.0' || host === '::') return true;
  return Object.values(networkInterfaces()).some(
    (addresses) => addresses?.some((entry) => entry.address === host) ?? false,
  );
}

/** 127.0.0.0/8, ::1 and localhost. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}

/** The host whose certificate this process shows as a gateway and trusts the CA of: its node's, else the config's. */
export function hostOf(roles: Roles, config: Config): string {
  const [only, ...others] = roles.nodes;
  return only !== undefined && others.length === 0 ? only.host : config.host;
}
