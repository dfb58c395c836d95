import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { isInstalled } from './installed.ts';
import type { LoadGenerator, Operation } from './load_generator.ts';
import type { Measured } from './measured.ts';

const run = promisify(execFile);

interface Member {
  readonly url: string;
  readonly child: ChildProcess;
}

/** Three etcd processes on loopback with TLS towards clients and each other. */
export class EtcdCluster {
  readonly #members: readonly Member[];
  readonly #ca: string;
  readonly #generator: LoadGenerator;

  private constructor(members: readonly Member[], ca: string, generator: LoadGenerator) {
    this.#members = members;
    this.#ca = ca;
    this.#generator = generator;
  }

  /** Whether etcd is installed. */
  static available(): Promise<boolean> {
    return isInstalled('etcd', ['--version']);
  }

  /** @param certificates PEM files of a pair for 127.0.0.1 and its authority. */
  static async start(
    generator: LoadGenerator,
    directory: string,
    certificates: { readonly cert: string; readonly key: string; readonly ca: string },
  ): Promise<EtcdCluster> {
    await mkdir(directory, { recursive: true });
    const ports = await freePorts(6);
    const urls = [0, 1, 2].map((i) => ({
      client: `https://127.0.0.1:${ports[2 * i]}`,
      peer: `https://127.0.0.1:${ports[2 * i + 1]}`,
    }));
    const { cert, key, ca } = certificates;
    const members = urls.map(({ client, peer }, i) => {
      const child = spawn(
        'etcd',
        [
          ...['--name', `m${i}`, '--data-dir', join(directory, `m${i}`)],
          ...['--listen-client-urls', client, '--advertise-client-urls', client],
          ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer],
          ...['--initial-cluster', urls.map((one, j) => `m${j}=${one.peer}`).join()],
          ...['--cert-file', cert, '--key-file', key],
          ...[
            '--peer-cert-file',
            cert,
            '--peer-key-file',
            key,
            '--peer-trusted-ca-file',
            ca,
            '--peer-client-cert-auth',
          ],
        ],
        { stdio: ['ignore', 'pipe', 'pipe'] },
      );
      const log = createWriteStream(join(directory, `m${i}.log`));
      child.stdout.pipe(log);
      child.stderr.pipe(log);
      return { url: client, child };
    });
    const cluster = new EtcdCluster(members, ca, generator);
    try {
      await cluster.#ready();
    } catch (error) {
      await cluster.close();
      throw error;
    }
    return cluster;
  }

  get pids(): readonly number[] {
    return this.#members.flatMap(({ child }) => child.pid ?? []);
  }

  /** `put`, `get` or `stale` on the member that leads. */
  async measure(
    operation: Operation,
    load: { readonly clients: number; readonly seconds: number },
  ): Promise<Measured> {
    const server = { target: 'etcd', url: await this.#leader(), ca: this.#ca } as const;
    return this.#generator.measure(server, operation, load);
  }

  /** Of the leader's log since it started. */
  async fdatasyncs(): Promise<number> {
    const text = await this.#metrics(await this.#leader());
    return Number(/^etcd_disk_wal_fsync_duration_seconds_count (\d+)/m.exec(text)?.[1] ?? NaN);
  }

  async close(): Promise<void> {
    await Promise.all(
      this.#members.map(async ({ child }) => {
        if (child.exitCode !== null || child.signalCode !== null) return;
        child.kill('SIGKILL');
        await once(child, 'exit');
      }),
    );
  }

  async #ready(): Promise<void> {
    for (let attempt = 0; attempt < 120; attempt++) {
      try {
        await this.#leader();
        return;
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 250));
      }
    }
    throw new Error('etcd did not elect a leader');
  }

  async #leader(): Promise<string> {
    for (const { url } of this.#members) {
      if (/^etcd_server_is_leader 1/m.test(await this.#metrics(url))) return url;
    }
    throw new Error('no etcd leads');
  }

  async #metrics(url: string): Promise<string> {
    const { stdout } = await run('curl', ['-sf', '--cacert', this.#ca, `${url}/metrics`]);
    return stdout;
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
