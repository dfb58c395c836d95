import { execFile } from 'node:child_process';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { loadClusterSecret } from '../../../cmd/certificates/cluster_secret.ts';
import { DatabaseClient } from '../../../s3db/client.ts';
import { certificateName } from '../../../transport/peer_name.ts';
import { ServerProcess } from '../../cluster/server_process.ts';
import type { TestNetwork } from '../network/test_network.ts';
import { SlowDisk } from '../slow_disk.ts';
import { SteppedClock } from '../stepped_clock.ts';
import { S3Caller } from './s3_caller.ts';

const run = promisify(execFile);
const binary = fileURLToPath(new URL('../../../bin/s3d', import.meta.url));
const keys = {
  accessKeyId: 'AKIACAMPAIGN00000001',
  secretAccessKey: 'campaign-secret-key-of-the-account',
};
const dbKeys = { accessKeyId: 'campaign-db-key', secretAccessKey: 'campaign-db-secret-key' };
const region = 'campaign-1';
const databasePort = 6660;
const firstNodes = 5;
/** Nodes that may be added, one after the other, all on the last host. */
const laterNodes = 12;
export const databaseIds: readonly number[] = [1, 2, 3];

export interface FleetOptions {
  readonly network: TestNetwork;
  /** For config, certificates and data. */
  readonly directory: string;
  readonly logDirectory: string;
}

/** One host for each database, one for each of the first nodes, one for those that come later. */
export const hostsOfFleet = databaseIds.length + firstNodes + 1;

/** Three databases and at first five shard nodes with gateways, each a process on a host of its own. */
export class Fleet {
  readonly #options: FleetOptions;
  readonly #processes = new Map<string, ServerProcess>();
  readonly #callers = new Map<number, S3Caller>();
  /** Processes that ended though nobody had asked. */
  readonly unexpected: string[] = [];
  readonly #asked = new Set<ServerProcess>();
  /** Ports of nodes that were replaced by others at another address. */
  readonly #moved = new Map<number, number>();
  #nextNode = firstNodes;
  #ca = '';
  #clusterId = '';
  #secret: Uint8Array = new Uint8Array();

  private constructor(options: FleetOptions) {
    this.#options = options;
  }

  static async start(options: FleetOptions): Promise<Fleet> {
    const fleet = new Fleet(options);
    await fleet.#prepare();
    await Promise.all(databaseIds.map((id) => fleet.startDatabase(id)));
    await Promise.all(Array.from({ length: firstNodes }, (_, id) => fleet.startNode(id)));
    return fleet;
  }

  get ca(): string {
    return this.#ca;
  }

  get cluster(): { readonly id: string; readonly secret: Uint8Array } {
    return { id: this.#clusterId, secret: this.#secret };
  }

  /** Nodes whose process runs, paused or not. */
  get runningNodes(): number[] {
    return [...this.#processes]
      .filter(([name, server]) => name.startsWith('node-') && server.running)
      .map(([name]) => Number(name.slice('node-'.length)))
      .sort((a, b) => a - b);
  }

  process(name: string): ServerProcess | undefined {
    return this.#processes.get(name);
  }

  /** A node that was never there before. */
  takeNewNode(): number | undefined {
    if (this.#nextNode >= firstNodes + laterNodes) return undefined;
    this.#nextNode += 1;
    return this.#nextNode - 1;
  }

  async startDatabase(id: number): Promise<void> {
    await this.#start(`db-${id}`, {
      host: id,
      args: ['-db', '-config', this.#configFile('all'), '-db-node', String(id)],
    });
  }

  async startNode(id: number): Promise<void> {
    // One that came later, or moved, has a config of its own: the others learn of it by the members alone.
    const config = id < firstNodes && !this.#moved.has(id) ? 'all' : `node-${id}`;
    await writeFile(this.#configFile(config), this.#config(id));
    const gateway = ['-host', this.gatewayOf(id).host, '-port', String(this.gatewayOf(id).port)];
    await this.#start(`node-${id}`, {
      host: hostOf(id),
      args: ['-backend', 'distributed', '-config', this.#configFile(config), '-node', String(id), ...gateway],
    });
  }

  async kill(name: string, signal: 'SIGKILL' | 'SIGTERM' = 'SIGKILL'): Promise<void> {
    const server = this.#processes.get(name);
    if (server === undefined) return;
    this.#asked.add(server);
    server.signal('SIGCONT');
    await server.kill(signal);
  }

  directoryOf(node: number): string {
    return join(this.#options.directory, 'data', 'shards', `node-${node}`);
  }

  async wipe(node: number): Promise<void> {
    // A mount stays where it is.
    await rm(join(this.directoryOf(node), 'log'), { recursive: true, force: true });
    await rm(join(this.directoryOf(node), 'index'), { recursive: true, force: true });
    await rm(join(this.directoryOf(node), 'stamp.json'), { force: true });
    await rm(join(this.directoryOf(node), 'scrub.json'), { force: true });
  }

  /** From its next start the node is at another port, as if another machine had taken its place. */
  moveNode(id: number): void {
    this.#moved.set(id, (this.#moved.get(id) ?? 9990 + id) + 40);
  }

  /** Of a node's or database's process, like `kill`; it goes on to be that of the next. */
  clockOf(name: string): SteppedClock {
    return new SteppedClock(join(this.#options.directory, `clock-${name}`));
  }

  /** Of a node's or database's process. */
  diskOf(name: string): SlowDisk {
    return new SlowDisk(join(this.#options.directory, `slow-disk-${name}`));
  }

  /** Where processes listen for each other. */
  get listeners(): { readonly host: number; readonly port: number }[] {
    const nodes = new Set([...this.runningNodes, ...Array.from({ length: firstNodes }, (_, id) => id)]);
    return [
      ...databaseIds.flatMap((host) => [databasePort, databasePort + 1000].map((port) => ({ host, port }))),
      ...[...nodes].map((id) => ({ host: hostOf(id), port: this.addressOf(id).port })),
    ];
  }

  gatewayOf(id: number): { readonly host: string; readonly port: number } {
    return {
      host: this.#options.network.address(hostOf(id)),
      port: 8443 + (id < firstNodes ? 0 : 10 * (id - 4)),
    };
  }

  addressOf(id: number): { readonly host: string; readonly port: number } {
    return {
      host: this.#options.network.address(hostOf(id)),
      port: this.#moved.get(id) ?? 9990 + id,
    };
  }

  caller(node: number): S3Caller {
    let caller = this.#callers.get(node);
    if (caller === undefined) {
      caller = new S3Caller({ ...this.gatewayOf(node), ca: this.#ca, region, ...keys });
      this.#callers.set(node, caller);
    }
    return caller;
  }

  /** Asks the admin listener of a running gateway. */
  async admin(method: 'GET' | 'POST' | 'DELETE', path: string, body?: object): Promise<unknown> {
    const errors: unknown[] = [];
    for (const node of this.runningNodes) {
      const { host, port } = this.gatewayOf(node);
      const caller = new S3Caller({ host, port: port + 1000, ca: this.#ca, region, ...keys });
      try {
        const answer = await caller.call({
          method,
          path,
          timeoutMs: 10_000,
          ...(body === undefined ? {} : { body: Buffer.from(JSON.stringify(body)) }),
        });
        if (answer.status < 300) return JSON.parse(answer.body.toString()) as unknown;
        errors.push(new Error(`${method} ${path}: ${answer.status} ${answer.body.toString()}`));
        if (answer.status < 500) break;
      } catch (error) {
        errors.push(error);
      } finally {
        caller.close();
      }
    }
    throw new AggregateError(errors, errors.map(String).join('; '));
  }

  /** The metadata, as the gateways see it. */
  async database(): Promise<DatabaseClient> {
    return DatabaseClient.open({
      endpoints: databaseIds.map((id) => ({
        id,
        host: this.#options.network.address(id),
        port: databasePort,
        servername: certificateName(`db-${id}`, this.#clusterId),
      })),
      ca: this.#ca,
      region,
      ...dbKeys,
    });
  }

  async close(): Promise<void> {
    for (const caller of this.#callers.values()) caller.close();
    await Promise.all([...this.#processes.keys()].map((name) => this.kill(name, 'SIGKILL')));
  }

  async #start(
    name: string,
    options: { readonly host: number; readonly args: readonly string[] },
  ): Promise<void> {
    const prefix = this.#options.network.prefix(options.host);
    const server = await ServerProcess.start({
      name,
      command: prefix[0] ?? binary,
      args: [...prefix.slice(1), ...(prefix.length > 0 ? [binary] : []), ...options.args],
      env: { ...(await this.clockOf(name).environment()), ...this.diskOf(name).environment },
      logFile: join(this.#options.logDirectory, `${name}.log`),
      readyMs: 180_000,
    });
    this.#processes.set(name, server);
    void server.exit().then(({ code, signal }) => {
      if (!this.#asked.has(server)) this.unexpected.push(`${name} ended by itself: ${code ?? signal ?? ''}`);
    });
  }

  async #prepare(): Promise<void> {
    await mkdir(join(this.#options.directory, 'data', 'shards'), { recursive: true });
    await mkdir(this.#options.logDirectory, { recursive: true });
    await writeFile(this.#configFile('all'), this.#config());
    // Certificates for the nodes that come later too.
    await writeFile(this.#configFile('certificates'), this.#config(firstNodes + laterNodes - 1, true));
    await run(binary, ['certs', '-config', this.#configFile('certificates')]);
    this.#ca = await readFile(join(this.#options.directory, 'data', 'certs', 'ca.pem'), 'utf8');
    const { clusterId, secret } = await loadClusterSecret(
      join(this.#options.directory, 'data', 'cluster.secret'),
    );
    this.#clusterId = clusterId;
    this.#secret = secret;
  }

  #configFile(name: string): string {
    return join(this.#options.directory, `${name}.toml`);
  }

  #config(own?: number, all = false): string {
    const { network, directory } = this.#options;
    const databases = databaseIds.map(
      (id) => `[[db]]
id = ${id}
host = "${network.address(id)}"
port = ${databasePort}
path = "db/node-${id}/"
access_key_id = "${dbKeys.accessKeyId}"
secret_access_key = "${dbKeys.secretAccessKey}"`,
    );
    const ids = Array.from({ length: all ? firstNodes + laterNodes : firstNodes }, (_, id) => id);
    const nodes = [...new Set([...ids, ...(own === undefined ? [] : [own])])].map((id) => {
      const { host, port } = this.addressOf(id);
      return `[[nodes]]\nid = ${id}\nhost = "${host}"\nport = ${port}\npath = "shards/node-${id}/"`;
    });
    return `version = "1.0"
region = "${region}"
host = "${network.address(hostOf(0))}"
base_path = "${join(directory, 'data')}"
[rs]
data = 3
parity = 2
[gc]
delay = "5s"
epoch = "40s"
[repair]
rate = "60MiB/s"
down_after = "45s"
${databases.join('\n')}
${nodes.join('\n')}
[[auth]]
access_key_id = "${keys.accessKeyId}"
secret_access_key = "${keys.secretAccessKey}"
account_id = "111111111111"
name = "campaign"
admin = true
`;
  }
}

/** Of a node. */
export function hostOf(node: number): number {
  return databaseIds.length + 1 + Math.min(node, firstNodes);
}
