import { createServer } from 'node:net';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface TestConfigOptions {
  /** Shard nodes; 0: a config for the filesystem backend. */
  readonly nodes: number;
  readonly databases: number;
  readonly rs?: { readonly data: number; readonly parity: number };
  /** TOML appended after the tables. */
  readonly extra?: string;
  /** TOML of top-level keys. */
  readonly top?: string;
  readonly region?: string;
}

export interface TestConfig {
  readonly file: string;
  readonly directory: string;
  readonly basePath: string;
  readonly port: number;
  remove(): Promise<void>;
}

export const testKeys = {
  accessKeyId: 'AKIATESTTESTTESTTEST',
  secretAccessKey: 'test-secret-key-of-the-main-account',
};
export const otherKeys = {
  accessKeyId: 'AKIAOTHEROTHEROTHER1',
  secretAccessKey: 'test-secret-key-of-another-account',
};
export const testRegion = 'eu-central-1';

/** A config in a temporary directory, on loopback ports that are free now, with two accounts. */
export async function writeTestConfig(options: TestConfigOptions): Promise<TestConfig> {
  const directory = await mkdtemp(join(tmpdir(), 's3d-e2e-'));
  const basePath = join(directory, 'data');
  const base = await freePortBlock();
  const rs = options.rs ?? { data: 3, parity: 2 };
  const databases = Array.from({ length: options.databases }, (_, i) => databaseTable(i + 1, base));
  const nodes = Array.from({ length: options.nodes }, (_, i) => nodeTable(i, base));
  const lines = [
    'version = "1.0"',
    `region = "${options.region ?? testRegion}"`,
    'host = "127.0.0.1"',
    `port = ${base}`,
    `base_path = "${basePath}"`,
    options.top ?? '',
    `[rs]\ndata = ${rs.data}\nparity = ${rs.parity}`,
    ...databases,
    ...nodes,
    options.extra ?? '',
    authTable(testKeys, '111111111111', 'main', true),
    authTable(otherKeys, '222222222222', 'other', false),
  ];
  const file = join(directory, 'cluster.toml');
  await writeFile(file, lines.join('\n'));
  return {
    file,
    directory,
    basePath,
    port: base,
    remove: () => rm(directory, { recursive: true, force: true }),
  };
}

function databaseTable(id: number, base: number): string {
  return `[[db]]
id = ${id}
host = "127.0.0.1"
port = ${base + 20 + id}
raft_port = ${base + 30 + id}
path = "db/node-${id}/"
access_key_id = "test-db-key"
secret_access_key = "test-db-secret-key"`;
}

function nodeTable(id: number, base: number): string {
  return `[[nodes]]
id = ${id}
host = "127.0.0.1"
port = ${base + 40 + id}
path = "shards/node-${id}/"`;
}

function authTable(keys: typeof testKeys, account: string, name: string, admin: boolean): string {
  return `[[auth]]
access_key_id = "${keys.accessKeyId}"
secret_access_key = "${keys.secretAccessKey}"
account_id = "${account}"
name = "${name}"
email = "${name}@example.com"
admin = ${admin}`;
}

/**
 * A port P so that P..P+60 (and the admin listeners at P+1000..) can be bound now. Below the ephemeral range, so that
 * no outgoing connection takes one of them between the check and the start.
 */
async function freePortBlock(): Promise<number> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const base = 11_000 + Math.floor(Math.random() * 190) * 100;
    const ports = [0, 1, 2, 3, 4, 21, 22, 23, 31, 32, 33, 40, 41, 42, 43, 44, 1000, 1001, 1002, 1003, 1004];
    const free = await Promise.all(ports.map((offset) => isFree(base + offset)));
    if (free.every(Boolean)) return base;
  }
  throw new Error('no block of free ports was found');
}

async function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
