import { execFile } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Config } from '../../cmd/config/config.ts';
import { loadConfig } from '../../cmd/config/load.ts';
import { ServerProcess } from './server_process.ts';

const binary = fileURLToPath(new URL('../../bin/s3d', import.meta.url));

/** A cluster of real processes on this machine: one per `[[db]]`, one shard node with a gateway per `[[nodes]]`. */
export class Cluster {
  readonly config: Config;
  readonly databases = new Map<number, ServerProcess>();
  readonly nodes = new Map<number, ServerProcess>();
  readonly #logDirectory: string;

  private constructor(config: Config) {
    this.config = config;
    this.#logDirectory = join(config.base_path, 'logs');
  }

  /** Makes certificates where they are missing, then starts everything; resolves when all of it is ready. */
  static async start(configFile: string): Promise<Cluster> {
    const cluster = new Cluster(await loadConfig(configFile));
    await mkdir(cluster.#logDirectory, { recursive: true });
    await promisify(execFile)(binary, ['certs', '-config', configFile]);
    try {
      await cluster.startAll();
    } catch (error) {
      await cluster.stop('SIGKILL');
      throw error;
    }
    return cluster;
  }

  async startAll(): Promise<void> {
    // A database alone is not ready before it sees a majority, so they must start together.
    await Promise.all(this.config.db.map((db) => this.startDatabase(db.id)));
    await Promise.all(this.config.nodes.map((node) => this.startNode(node.id)));
  }

  async startDatabase(id: number): Promise<ServerProcess> {
    const server = await ServerProcess.start({
      name: `db-${id}`,
      args: ['-db', '-config', this.config.file, '-db-node', String(id)],
      logFile: join(this.#logDirectory, `db-${id}.log`),
    });
    this.databases.set(id, server);
    return server;
  }

  /** Node N's gateway listens on the config's port + its position. */
  async startNode(id: number): Promise<ServerProcess> {
    const server = await ServerProcess.start({
      name: `node-${id}`,
      args: [
        '-backend',
        'distributed',
        '-config',
        this.config.file,
        '-node',
        String(id),
        '-port',
        String(this.gatewayPort(id)),
      ],
      logFile: join(this.#logDirectory, `node-${id}.log`),
    });
    this.nodes.set(id, server);
    return server;
  }

  gatewayPort(id: number): number {
    return this.config.port + this.config.nodes.findIndex((node) => node.id === id);
  }

  get caFile(): string {
    return join(this.config.base_path, 'certs', 'ca.pem');
  }

  /** Stops every process that still runs, by its own id. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const gateways = [...this.nodes.values()];
    const databases = [...this.databases.values()];
    await Promise.all(gateways.map((server) => server.kill(signal)));
    await Promise.all(databases.map((server) => server.kill(signal)));
  }
}
