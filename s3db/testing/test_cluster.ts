import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Driver } from '../../transport/driver.ts';
import { PipeNetwork } from '../../transport/drivers/pipe.ts';
import type { DriverName } from '../../transport/drivers/select.ts';
import { TestAuthority } from '../../transport/testing/certificates.ts';
import { dialPeer } from '../../transport/peer.ts';
import { DatabaseClient } from '../client.ts';
import { ClientEndpoint, type Answer, type Call } from '../client_endpoint.ts';
import { LaneLink } from '../link/lane_link.ts';
import type { DriverTiming } from '../driver.ts';
import type { ReplicaFailedError } from '../driver_errors.ts';
import type { Retention } from '../retained_sizes.ts';
import { S3dbServer } from '../server.ts';
import type { DbAddress, S3dbServerOptions } from '../server_options.ts';

export const testCredentials = { accessKeyId: 'db-key', secretAccessKey: 'db-secret-of-the-tests' };
export const testRegion = 'test-region-1';

const testSecret: Uint8Array = Buffer.from('a secret of the test cluster');

/** Quick elections, so that tests need not wait. */
const quick: DriverTiming = { tickMs: 20, electionTicks: 10, heartbeatTicks: 2 };

interface TestClusterOptions {
  readonly size: number;
  /** Default: pipes within the process. */
  readonly driver?: DriverName;
  readonly timing?: DriverTiming;
  readonly retention?: Retention;
  readonly logSegmentBytes?: number;
}

/** Replicas in this process, with real files, over pipes or loopback sockets, REST over TLS. */
export class TestCluster {
  readonly directory: string;
  readonly authority = new TestAuthority();
  readonly addresses: readonly DbAddress[];
  readonly servers = new Map<number, S3dbServer>();
  readonly failures: ReplicaFailedError[] = [];
  readonly log: string[] = [];
  readonly #options: TestClusterOptions;
  readonly #pipes = new PipeNetwork();

  private constructor(directory: string, addresses: readonly DbAddress[], options: TestClusterOptions) {
    this.directory = directory;
    this.addresses = addresses;
    this.#options = options;
  }

  static async create(options: TestClusterOptions): Promise<TestCluster> {
    const directory = await mkdtemp(join(tmpdir(), 's3db-cluster-'));
    const ports = await freePorts(2 * options.size);
    const addresses = Array.from({ length: options.size }, (_, i) => ({
      id: i + 1,
      host: '127.0.0.1',
      port: ports[2 * i] ?? 0,
      raftPort: ports[2 * i + 1] ?? 0,
    }));
    return new TestCluster(directory, addresses, options);
  }

  /** All started, and each sees a leader. */
  static async start(options: TestClusterOptions): Promise<TestCluster> {
    const cluster = await TestCluster.create(options);
    await Promise.all(cluster.addresses.map(({ id }) => cluster.startServer(id)));
    await Promise.all([...cluster.servers.values()].map((server) => server.ready(20_000)));
    return cluster;
  }

  async startServer(id: number, overrides: Partial<S3dbServerOptions> = {}): Promise<S3dbServer> {
    const address = this.addresses.find((one) => one.id === id);
    if (address === undefined) throw new Error(`no db ${id}`);
    const note =
      (level: string) =>
      (fields: object, message: string): void => {
        this.log.push(`${level} db-${id} ${message} ${JSON.stringify(fields)}`);
      };
    const driver: DriverName | Driver = this.#options.driver ?? this.#pipes.driver;
    const server = await S3dbServer.open({
      ...address,
      directory: this.directoryOf(id),
      peers: this.addresses,
      tls: this.authority.issue(`db-${id}.test.s3d`),
      region: testRegion,
      credentials: testCredentials,
      transport: { driver, clusterId: 'test', secret: testSecret },
      logger: { debug: note('debug'), info: note('info'), warn: note('warn'), error: note('error') },
      onFatal: (error) => this.failures.push(error),
      timing: this.#options.timing ?? quick,
      ...(this.#options.retention === undefined ? {} : { retention: this.#options.retention }),
      ...(this.#options.logSegmentBytes === undefined
        ? {}
        : { logSegmentBytes: this.#options.logSegmentBytes }),
      ...overrides,
    });
    this.servers.set(id, server);
    return server;
  }

  async stopServer(id: number): Promise<void> {
    const server = this.servers.get(id);
    this.servers.delete(id);
    await server?.close();
  }

  directoryOf(id: number): string {
    return join(this.directory, `db-${id}`);
  }

  /** Of all replicas, or of some. */
  client(ids: readonly number[] = this.addresses.map(({ id }) => id)): Promise<DatabaseClient> {
    return DatabaseClient.open({
      endpoints: this.addresses
        .filter(({ id }) => ids.includes(id))
        .map(({ id, host, port }) => ({ host, port, servername: `db-${id}.test.s3d` })),
      ca: this.authority.ca,
      region: testRegion,
      ...testCredentials,
    });
  }

  /** Of all replicas, or of some, over the transport. */
  laneClient(
    ids: readonly number[] = this.addresses.map(({ id }) => id),
    secret = testSecret,
  ): DatabaseClient {
    const links = this.addresses
      .filter(({ id }) => ids.includes(id))
      .map(({ id, host, port, raftPort }) => {
        const peer = dialPeer({
          driver: this.#options.driver ?? this.#pipes.driver,
          host,
          port: raftPort,
          peer: `db-${id}`,
          self: 'gateway-1',
          clusterId: 'test',
          secret,
          tls: { ca: this.authority.ca },
        });
        return new LaneLink(`${host}:${port}`, peer);
      });
    return DatabaseClient.over(links);
  }

  /** One signed request to a replica's REST API; with a wrong signature on demand. */
  async send(
    id: number,
    call: Omit<Call, 'headers'>,
    options: { readonly signed?: boolean } = {},
  ): Promise<Answer> {
    const address = this.addresses.find((one) => one.id === id);
    if (address === undefined) throw new Error(`there is no replica ${id}`);
    const { host, port } = address;
    const endpoint = new ClientEndpoint({
      endpoint: { host, port, servername: `db-${id}.test.s3d` },
      ca: this.authority.ca,
      region: testRegion,
      connections: 1,
      ...testCredentials,
      ...(options.signed === false ? { secretAccessKey: 'another' } : {}),
    });
    try {
      return await endpoint.send({ ...call, headers: {} }, AbortSignal.timeout(20_000));
    } finally {
      await endpoint.close();
    }
  }

  async close(): Promise<void> {
    await Promise.all([...this.servers.keys()].map((id) => this.stopServer(id)));
    await rm(this.directory, { recursive: true, force: true });
  }
}

async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer();
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
