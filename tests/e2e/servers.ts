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
