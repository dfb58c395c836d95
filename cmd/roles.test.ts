import { describe, expect, test } from 'vitest';
import type { Config } from './config/config.ts';
import { loadConfig } from './config/load.ts';
import { parseFlags } from './flags.ts';
import { chooseRoles, type Roles } from './roles.ts';

const cluster = await loadConfig('cluster.toml');
const dev = await loadConfig('config/dev.toml');

function roles(argv: string, config: Config, isLocal: (host: string) => boolean = () => true): Roles {
  return chooseRoles(parseFlags(argv === '' ? [] : argv.split(' '), {}), config, isLocal);
}

/** The cluster with a host of its own for each node; db replicas on the first three. */
const spread: Config = {
  ...cluster,
  nodes: cluster.nodes.map((node) => ({ ...node, host: `10.0.0.${node.id + 1}` })),
  db: cluster.db.map((db) => ({ ...db, host: `10.0.0.${db.id}` })),
};

describe('chooseRoles', () => {
  test('the filesystem backend is a gateway and nothing else', () => {
    expect(roles('', dev)).toEqual({ gateway: true, nodes: [], dbs: [], development: false });
    expect(() => roles('-node 1', dev)).toThrow('-node: the filesystem backend has no shard nodes');
  });

  test('development mode runs every node and database of the config', () => {
    const chosen = roles('-backend distributed', cluster);
    expect(chosen.development).toBe(true);
    expect(chosen.nodes).toHaveLength(5);
    expect(chosen.dbs.map((db) => db.id)).toEqual([1, 2, 3]);
  });

  test('development mode is refused where the config names other hosts', () => {
    expect(() => roles('-backend distributed', spread, (host) => host === '10.0.0.1')).toThrow(
      'names other hosts (10.0.0.2',
    );
  });

  test('-node N alone on its host brings the database of that host along', () => {
    expect(roles('-backend distributed -node 1', spread).dbs.map((db) => db.id)).toEqual([2]);
    expect(roles('-backend distributed -node 4', spread).dbs).toEqual([]);
  });

  test('-node N on a shared host runs no database', () => {
    expect(roles('-backend distributed -node 1', cluster)).toMatchObject({
      dbs: [],
      gateway: true,
      development: false,
    });
  });

  test('-node N without [[db]] would make a universe of its own', () => {
    expect(() => roles('-backend distributed -node 1', dev)).toThrow('has no [[db]]');
    expect(() => roles('-backend distributed -node 9', cluster)).toThrow(
      'no [[nodes]] with id 9; it has 0, 1, 2, 3, 4',
    );
  });

  test('-db runs the one database of this host, or asks which', () => {
    expect(roles('-db', spread, (host) => host === '10.0.0.2').dbs.map((db) => db.id)).toEqual([2]);
    expect(roles('-db -db-node 3', cluster)).toMatchObject({
      gateway: false,
      nodes: [],
      dbs: [{ id: 3, raft_port: 7662 }],
    });
    expect(() => roles('-db', cluster)).toThrow(
      'several [[db]] on this host (ids 1, 2, 3); choose one with -db-node ID',
    );
    expect(() => roles('-db -db-node 9', cluster)).toThrow('no [[db]] with id 9; it has 1, 2, 3');
  });
});
