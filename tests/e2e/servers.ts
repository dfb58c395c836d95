import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Cluster } from '../cluster/cluster.ts';
import { ServerProcess } from '../cluster/server_process.ts';
import { writeTestConfig } from '../cluster/test_config.ts';
import type { Endpoint } from './clients/endpoint.ts';

/** A running store, by its gateways. */
export interface Store {
  readonly name: string;
  /** One per gateway. */
  readonly endpoints: readonly [Endpoint, ...Endpoint[]];
  stop(): Promise<void>;
}

/** A running store with a directory to work in, and the gateways that a test writes to and reads from. */
export interface Place {
  readonly store: Store;
  readonly work: string;
  readonly writeTo: Endpoint;
  /** Another gateway, where there are several. */
  readonly readFrom: Endpoint;
}

/** Both backends, for `describe.each`. */
export const backends = [
  { backend: 'filesystem', start: (): Promise<Store> => startFilesystem() },
  { backend: 'distributed', start: (): Promise<Store> => startDistributed() },
] as const;

export async function openPlace(start: () => Promise<Store>): Promise<Place> {
  const store = await start();
  const [writeTo] = store.endpoints;
  const work = await mkdtemp(join(tmpdir(), 's3d-e2e-'));
  return { store, work, writeTo, readFrom: store.endpoints[1] ?? writeTo };
}

export async function closePlace({ store, work }: Place): Promise<void> {
  await store.stop();
  await rm(work, { recursive: true, force: true });
}

/** Three database processes and five shard nodes with a gateway each. */
export async function startDistributed(): Promise<Store & { readonly cluster: Cluster }> {
  const config = await writeTestConfig({ nodes: 5, databases: 3 });
  const cluster = await Cluster.start(config.file);
  const endpoints = [...cluster.nodes.values()].map((server) => ({
    url: server.url,
    caFile: cluster.caFile,
  }));
  const [first, ...rest] = endpoints;
  if (first === undefined) throw new Error('the cluster has no gateway');
  return {
    name: 'distributed',
    cluster,
    endpoints: [first, ...rest],
    stop: async () => {
      await cluster.stop('SIGTERM');
      await config.remove();
    },
  };
}

/** One process with the filesystem backend. */
export async function startFilesystem(extra = ''): Promise<Store & { readonly basePath: string }> {
  const config = await writeTestConfig({ nodes: 0, databases: 0, extra });
  const server = await ServerProcess.start({
    name: 'filesystem',
    args: ['-config', config.file],
    logFile: join(config.directory, 'server.log'),
  });
  return {
    name: 'filesystem',
    basePath: config.basePath,
    endpoints: [{ url: server.url, caFile: join(config.basePath, 'certs', 'ca.pem') }],
    stop: async () => {
      await server.kill('SIGTERM');
      await config.remove();
    },
  };
}
