import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { ClientEndpoint } from '../../s3db/client_endpoint.ts';
import { measure, type Measured } from './measured.ts';

const program = fileURLToPath(new URL('bare_server.ts', import.meta.url));
const timeoutMs = 60_000;

/**
 * What REST can reach here at most: one HTTPS server of Node that checks no signature, keeps nothing and asks nobody,
 * called by the client of the REST service with calls of the same size, signed in the same way.
 */
export class BareRest {
  readonly #child: ChildProcess;
  readonly #endpoint: ClientEndpoint;

  private constructor(child: ChildProcess, endpoint: ClientEndpoint) {
    this.#child = child;
    this.#endpoint = endpoint;
  }

  /** The paths of a certificate for 127.0.0.1, its key and the CA. */
  static async start(files: {
    readonly cert: string;
    readonly key: string;
    readonly ca: string;
  }): Promise<BareRest> {
    const child = spawn(process.execPath, [program, files.cert, files.key], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
    const { hostname, port } = new URL(line.replace('s3d ready ', ''));
    const endpoint = new ClientEndpoint({
      endpoint: { host: hostname, port: Number(port) },
      ca: await readFile(files.ca),
      region: 'bench-1',
      accessKeyId: 'bench',
      secretAccessKey: 'bench-secret',
      connections: 64,
    });
    return new BareRest(child, endpoint);
  }

  get pids(): readonly number[] {
    return this.#child.pid === undefined ? [] : [this.#child.pid];
  }

  measure(
    kind: 'write' | 'read',
    load: { readonly clients: number; readonly seconds: number; readonly bytes: number },
  ): Promise<Measured> {
    const body = Buffer.alloc(load.bytes, 7);
    const call =
      kind === 'write'
        ? ({ method: 'POST', path: '/v1/batch', headers: {}, body } as const)
        : ({ method: 'GET', path: `/v1/get/bench?size=${load.bytes}`, headers: {} } as const);
    return measure(load, async () => {
      const { status } = await this.#endpoint.send(call, AbortSignal.timeout(timeoutMs));
      if (status !== 200) throw new Error(`the bare server answers ${status}`);
    });
  }

  async close(): Promise<void> {
    await this.#endpoint.close();
    const exited = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await exited;
  }
}
