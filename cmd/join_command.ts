import { readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { stringify } from 'smol-toml';
import { parseCommand } from './arguments.ts';
import { loadClusterSecret } from './certificates/cluster_secret.ts';
import { CertificateError } from './certificates/errors.ts';
import { loadConfig } from './config/load.ts';
import { UsageError } from './errors.ts';
import { callAdmin } from './https_call.ts';
import { joinCredential, joinService } from './join_credential.ts';

const usage = `s3d join https://HOST:9443 -node N -address HOST:PORT [-config FILE] [-base-path DIR] [-region REGION]
  fetches the cluster's config from any admin listener and writes it to FILE (default cluster.toml) for this host, which
  is to be node N. DIR (default data/) must have what proves it: certs/ca.pem, certs/ADDRESS.pem and .key, cluster.secret,
  made where the CA's key is by: s3d certs -config cluster.toml -node N -host ADDRESS`;

const options = {
  config: { type: 'string', default: 'cluster.toml' },
  node: { type: 'string' },
  address: { type: 'string' },
  'base-path': { type: 'string', default: 'data/' },
  region: { type: 'string', default: 'us-east-1' },
} as const;

interface Fetched {
  readonly nodes: readonly { readonly id: number }[];
  readonly [key: string]: unknown;
}

/** `s3d join`: makes this host's config from the cluster's. @returns what to tell the operator */
export async function joinCommand(argv: readonly string[]): Promise<string> {
  const { values, positionals } = parseCommand(argv, { name: 'join', options, usage });
  const [address] = positionals;
  if (address === undefined || positionals.length !== 1 || !URL.canParse(address)) {
    throw new UsageError(`join: the URL of an admin listener expected\n${usage}`);
  }
  const node = Number(values.node);
  if (values.node === undefined || !Number.isInteger(node) || node < 0 || node > 65_535) {
    throw new UsageError(`join: -node: an id from 0 to 65535 expected, got '${values.node ?? ''}'`);
  }
  const match = /^\[?([^\]]+?)\]?:(\d+)$/.exec(values.address ?? '');
  if (match?.[1] === undefined) {
    throw new UsageError(`join: -address HOST:PORT expected, got '${values.address ?? ''}'`);
  }
  const own = { id: node, host: match[1], port: Number(match[2]), path: `shards/node-${node}/` };
  const basePath = resolve(values['base-path']);
  const fetched = await fetchConfig(new URL(address), { basePath, region: values.region });
  const config = {
    ...fetched,
    host: own.host,
    base_path: values['base-path'],
    nodes: [...fetched.nodes.filter((known) => known.id !== node), own],
  };
  try {
    // It holds keys.
    await writeFile(values.config, stringify(config), { flag: 'wx', mode: 0o600 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    throw new UsageError(
      `join: ${values.config} is there already; move it away, or name another with -config`,
    );
  }
  // Whoever reads it later must not be the first to find a mistake.
  await loadConfig(values.config);
  return `made ${values.config}; start the node, and it joins: s3d -backend distributed -config ${values.config} -node ${node}`;
}

async function fetchConfig(
  url: URL,
  of: { readonly basePath: string; readonly region: string },
): Promise<Fetched> {
  if (url.protocol !== 'https:')
    throw new UsageError(`join: ${url.href}: https expected, since the answer holds keys`);
  const caFile = join(of.basePath, 'certs', 'ca.pem');
  try {
    const credential = joinCredential(await loadClusterSecret(join(of.basePath, 'cluster.secret')));
    const answer = await callAdmin({
      url,
      method: 'GET',
      path: '/join',
      service: joinService,
      region: of.region,
      ...credential,
      ca: await readFile(caFile, 'utf8'),
    });
    return (answer as { readonly config: Fetched }).config;
  } catch (error) {
    if (error instanceof CertificateError) throw new UsageError(`join: ${error.message}`);
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
      throw new UsageError(`join: ${caFile}: there is no such file; copy it from a host of the cluster`);
    }
    throw error;
  }
}
