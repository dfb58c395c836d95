import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { open, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { loadClusterSecret } from '../../../cmd/certificates/cluster_secret.ts';
import { DatabaseClient } from '../../../s3db/client.ts';
import { ClientEndpoint, type Answer, type Call } from '../../../s3db/client_endpoint.ts';
import type { Database } from '../../../s3db/database.ts';
import { LaneLink } from '../../../s3db/link/lane_link.ts';
import { StateMachine } from '../../../s3db/state_machine.ts';
import { dialPeer } from '../../../transport/peer.ts';
import { certificateName } from '../../../transport/peer_name.ts';
import type { TestNetwork } from '../network/test_network.ts';
import { SlowDisk } from '../slow_disk.ts';
import { SteppedClock } from '../stepped_clock.ts';

const binary = fileURLToPath(new URL('../../../bin/s3d', import.meta.url));
const credentials = { accessKeyId: 'campaign-db-key', secretAccessKey: 'campaign-db-secret-key' };
const region = 'campaign-1';
const restPort = 6660;
const statusMs = 3000;

export interface ReplicaSetOptions {
  readonly size: number;
  readonly network: TestNetwork;
  /** For config, certificates and the replicas' files. */
  readonly directory: string;
  /** Gets one log a replica. */
  readonly logDirectory: string;
  readonly driver: 'auto' | 'http3' | 'http2';
  /** Whether clocks and disks of processes can be tampered with; default no, then there is nothing between. */
  readonly tampering?: boolean;
}

/** What `/status` says, as far as a campaign needs it. */
export interface ReplicaStatus {
  readonly id: number;
  readonly role: string;
  readonly term: number;
  readonly leader_id: number | null;
  readonly commit_index: number;
  readonly applied_index: number;
  readonly last_index: number;
  readonly voters: readonly (number | string)[];
  readonly learners: readonly (number | string)[];
  readonly log?: { readonly syncs?: number };
}

/** The replicas of one database, each a process on a host of its own. */
export class ReplicaSet {
  readonly ids: readonly number[];
  readonly #options: ReplicaSetOptions;
  readonly #processes = new Map<number, ReplicaProcess>();
  readonly #endpoints = new Map<number, ClientEndpoint>();
  readonly #clients: Database[] = [];
  /** Exits that nobody had asked for. */
  readonly unexpected: string[] = [];
  #clusterId = '';
  #closed = false;
  #ca = '';
  #secret: Uint8Array = new Uint8Array();

  private constructor(options: ReplicaSetOptions) {
    this.#options = options;
    this.ids = Array.from({ length: options.size }, (_, i) => i + 1);
  }

  /** Makes config and certificates and starts all replicas; it doesn't wait for a leader. */
  static async start(options: ReplicaSetOptions): Promise<ReplicaSet> {
    const set = new ReplicaSet(options);
    await set.#prepare();
    for (const id of set.ids) await set.startReplica(id);
    return set;
  }

  async startReplica(id: number): Promise<void> {
    if (this.#closed) return;
    if (this.isRunning(id)) throw new Error(`db ${id} runs already`);
    const prefix = this.#options.network.prefix(id);
    const command = prefix[0] ?? binary;
    const args = [
      ...prefix.slice(1),
      ...(prefix.length > 0 ? [binary] : []),
      '-db',
      '-config',
      this.#configFile,
      '-db-node',
      String(id),
    ];
    const log = await open(join(this.#options.logDirectory, `db-${id}.log`), 'a');
    const tampering =
      this.#options.tampering === true
        ? { ...(await this.clockOf(id).environment()), ...this.diskOf(id).environment }
        : {};
    const child = spawn(command, args, {
      stdio: ['ignore', 'ignore', log.fd],
      env: { ...process.env, ...tampering },
    });
    await log.close();
    const replica = new ReplicaProcess(child, (how) => {
      this.unexpected.push(`db ${id} ended by itself: ${how}`);
    });
    this.#processes.set(id, replica);
  }

  pid(id: number): number | undefined {
    return this.#processes.get(id)?.pid;
  }

  isRunning(id: number): boolean {
    return this.#processes.get(id)?.running ?? false;
  }

  async stop(id: number, signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    await this.#processes.get(id)?.stop(signal);
  }

  /** Whether a replica may end by itself from now on: one that the cluster has removed does, as soon as it hears of it. */
  setMayEnd(id: number, mayEnd: boolean): void {
    const replica = this.#processes.get(id);
    if (replica !== undefined) replica.mayEnd = mayEnd;
  }

  /** All at one moment, so that none goes on without the others. */
  async killAll(): Promise<void> {
    await Promise.all(this.ids.map((id) => this.stop(id, 'SIGKILL')));
  }

  pause(id: number): void {
    this.#processes.get(id)?.signal('SIGSTOP');
  }

  resume(id: number): void {
    this.#processes.get(id)?.signal('SIGCONT');
  }

  /** Of a replica's process, and of the next one after it. */
  clockOf(id: number): SteppedClock {
    return new SteppedClock(join(this.#options.directory, `clock-${id}`));
  }

  /** Of a replica's process, and of the next one after it. */
  diskOf(id: number): SlowDisk {
    return new SlowDisk(join(this.#options.directory, `slow-disk-${id}`));
  }

  /** Where replicas listen for each other. */
  get listeners(): { readonly host: number; readonly port: number }[] {
    return this.ids.flatMap((host) => {
      const { port, raft_port } = this.addressOf(host);
      return [
        { host, port },
        { host, port: raft_port },
      ];
    });
  }

  directoryOf(id: number): string {
    return join(this.#options.directory, 'data', `db-${id}`);
  }

  async wipe(id: number): Promise<void> {
    if (this.isRunning(id)) throw new Error(`db ${id} runs`);
    await rm(this.directoryOf(id), { recursive: true });
  }

  /** Undefined when it doesn't say in time. */
  async status(id: number): Promise<ReplicaStatus | undefined> {
    const answer = await this.call(id, { method: 'GET', path: '/status', headers: {} }, statusMs);
    if (answer?.status !== 200) return undefined;
    return JSON.parse(Buffer.from(answer.body).toString()) as ReplicaStatus;
  }

  async statuses(): Promise<readonly (ReplicaStatus | undefined)[]> {
    return Promise.all(this.ids.map((id) => this.status(id)));
  }

  /** The one that most recently says to lead. */
  async leader(): Promise<number | undefined> {
    const leading = (await this.statuses()).filter((status) => status?.role === 'leader');
    return leading.toSorted((a, b) => (b?.term ?? 0) - (a?.term ?? 0))[0]?.id;
  }

  /** A signed request to one replica; undefined when no answer comes in time. */
  async call(id: number, call: Call, timeoutMs: number): Promise<Answer | undefined> {
    const endpoint = this.#endpoints.get(id);
    if (endpoint === undefined) throw new Error(`no db ${id}`);
    try {
      return await endpoint.send(call, AbortSignal.timeout(timeoutMs));
    } catch {
      // Down, cut off or paused: that is what campaigns are about.
      return undefined;
    }
  }

  async post(id: number, path: string, body: object, timeoutMs = 15_000): Promise<Answer | undefined> {
    const headers = { 'content-type': 'application/json', 'x-s3db-timeout-ms': String(timeoutMs - 100) };
    return this.call(
      id,
      { method: 'POST', path, headers, body: Buffer.from(JSON.stringify(body)) },
      timeoutMs,
    );
  }

  addressOf(id: number): { id: number; host: string; port: number; raft_port: number } {
    const port = this.#options.network.canCut ? restPort : loopbackPort() + id;
    return { id, host: this.#options.network.address(id), port, raft_port: port + 1000 };
  }

  /** A client of some replicas, over REST. Closed with the set. @param connections to each: HTTP/1.1 carries one call at a time. */
  async client(ids: readonly number[] = this.ids, connections = 8): Promise<Database> {
    const client = await DatabaseClient.open({
      endpoints: ids.map((id) => this.#endpoint(id)),
      ca: this.#ca,
      region,
      ...credentials,
      connections,
    });
    this.#clients.push(client);
    return client;
  }

  /** A client of some replicas as a gateway is one, over the transport. Closed with the set. */
  laneClient(ids: readonly number[] = this.ids): Database {
    const links = ids.map((id) => {
      const { host, port, raft_port } = this.addressOf(id);
      const peer = dialPeer({
        driver: this.#options.driver === 'auto' ? 'http2' : this.#options.driver,
        host,
        port: raft_port,
        peer: `db-${id}`,
        self: 'gateway-1',
        clusterId: this.#clusterId,
        secret: this.#secret,
        tls: { ca: this.#ca },
      });
      return new LaneLink(`${host}:${port}`, peer);
    });
    const client = DatabaseClient.over(links);
    this.#clients.push(client);
    return client;
  }

  /** What a program of its own needs to call a replica over REST. `ca`: the path of a PEM file */
  restAccess(id: number): {
    readonly url: string;
    readonly ca: string;
    readonly serverName: string;
    readonly region: string;
    readonly accessKeyId: string;
    readonly secretAccessKey: string;
  } {
    const { host, port, servername } = this.#endpoint(id);
    const ca = join(this.#options.directory, 'data', 'certs', 'ca.pem');
    return { url: `https://${host}:${port}`, ca, serverName: servername, region, ...credentials };
  }

  /** The digest of what a stopped replica holds, and at which index. */
  async digest(id: number): Promise<{ readonly index: number; readonly digest: string }> {
    const state = await StateMachine.open(this.directoryOf(id));
    try {
      return { index: state.applied.index, digest: await state.digest() };
    } finally {
      await state.close();
    }
  }

  /** Ends all processes; none is started any more. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const client of this.#clients) await client.close();
    for (const endpoint of this.#endpoints.values()) await endpoint.close();
    for (const id of this.ids) this.resume(id);
    await this.killAll();
  }

  get #configFile(): string {
    return join(this.#options.directory, 'cluster.toml');
  }

  async #prepare(): Promise<void> {
    const { directory, driver } = this.#options;
    const databases = this.ids.map((id) => {
      const { host, port, raft_port } = this.addressOf(id);
      return `[[db]]\nid = ${id}\nhost = "${host}"\nport = ${port}\nraft_port = ${raft_port}\npath = "db-${id}/"
access_key_id = "${credentials.accessKeyId}"\nsecret_access_key = "${credentials.secretAccessKey}"\n`;
    });
    const top = `version = "1.0"\nregion = "${region}"\nbase_path = "${join(directory, 'data')}"\n`;
    await writeFile(this.#configFile, [top, `[transport]\ndriver = "${driver}"\n`, ...databases].join('\n'));
    await promisify(execFile)(binary, ['certs', '-config', this.#configFile]);
    this.#ca = await readFile(join(directory, 'data', 'certs', 'ca.pem'), 'utf8');
    const identity = await loadClusterSecret(join(directory, 'data', 'cluster.secret'));
    this.#clusterId = identity.clusterId;
    this.#secret = identity.secret;
    for (const id of this.ids) {
      const endpoint = this.#endpoint(id);
      const options = { endpoint, ca: this.#ca, region, ...credentials, connections: 4 };
      this.#endpoints.set(id, new ClientEndpoint(options));
    }
  }

  #endpoint(id: number): { host: string; port: number; servername: string } {
    const { host, port } = this.addressOf(id);
    return { host, port, servername: certificateName(`db-${id}`, this.#clusterId) };
  }
}

/** Two runs at once on loopback are told apart by their process. */
function loopbackPort(): number {
  return 12_000 + (process.pid % 900) * 20;
}

/** A process, and whether its end would be no surprise. */
class ReplicaProcess {
  readonly #child: ChildProcess;
  readonly #exit: Promise<unknown>;
  #exited = false;
  mayEnd = false;

  constructor(child: ChildProcess, onUnexpected: (how: string) => void) {
    this.#child = child;
    // Whatever ends this process must not leave it behind.
    const endWithUs = (): void => {
      child.kill('SIGKILL');
    };
    process.once('exit', endWithUs);
    child.once('exit', () => process.off('exit', endWithUs));
    this.#exit = once(child, 'exit').then(([code, signal]) => {
      this.#exited = true;
      if (!this.mayEnd) onUnexpected(`exit ${String(code ?? signal)}`);
    });
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  get running(): boolean {
    return !this.#exited;
  }

  signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    if (!this.#exited) this.#child.kill(signal);
  }

  async stop(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    this.mayEnd = true;
    if (!this.#exited) {
      this.#child.kill(signal);
      // One that is paused gets its signal only now.
      if (signal === 'SIGTERM') this.#child.kill('SIGCONT');
    }
    const late = setTimeout(() => this.#child.kill('SIGKILL'), 40_000);
    await this.#exit;
    clearTimeout(late);
  }
}
