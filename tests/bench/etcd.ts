import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Measured } from './measured.ts';

const loadSource = fileURLToPath(new URL('etcd_load', import.meta.url));
const run = promisify(execFile);

interface Member {
  readonly url: string;
  readonly child: ChildProcess;
}

/** Three etcd processes on loopback with TLS towards clients and each other, and the load that etcd's own client makes. */
export class EtcdCluster {
  readonly #members: readonly Member[];
  readonly #ca: string;
  readonly #load: string;

  private constructor(members: readonly Member[], ca: string, load: string) {
    this.#members = members;
    this.#ca = ca;
    this.#load = load;
  }

  /** What is missing for it, if something is. */
  static async missing(): Promise<string | undefined> {
    for (const [program, args] of [
      ['etcd', ['--version']],
      ['go', ['version']],
    ] as const) {
      try {
        await run(program, [...args]);
      } catch {
        return `${program} is not installed`;
      }
    }
    return undefined;
  }

  /** @param certificates PEM files of a pair for 127.0.0.1 and its authority. */
  static async start(
    directory: string,
    certificates: { readonly cert: string; readonly key: string; readonly ca: string },
  ): Promise<EtcdCluster> {
    await mkdir(directory, { recursive: true });
    const load = join(directory, 'etcd_load');
    await run('go', ['build', '-o', load, '.'], { cwd: loadSource });
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
    const cluster = new EtcdCluster(members, ca, load);
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
    operation: 'put' | 'get' | 'stale',
    load: { readonly clients: number; readonly seconds: number },
  ): Promise<Measured> {
    const leader = await this.#leader();
    const { stdout } = await run(this.#load, [
      ...['-endpoints', leader, '-ca', this.#ca, '-operation', operation],
      ...['-clients', String(load.clients), '-seconds', String(load.seconds)],
    ]);
    return JSON.parse(stdout) as Measured;
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
