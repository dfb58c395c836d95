import { readFile } from 'node:fs/promises';
import { ClientEndpoint } from '../../s3db/client_endpoint.ts';
import type { ServerProcess } from '../cluster/server_process.ts';
import { type BareFiles, startBareServer } from './bare_process.ts';
import { measure, type Measured } from './measured.ts';

const timeoutMs = 60_000;

/**
 * What REST can reach here at most: one HTTPS server of Node that checks no signature, keeps nothing and asks nobody,
 * called by the client of the REST service with calls of the same size, signed in the same way.
 */
export class BareRest {
  readonly #server: ServerProcess;
  readonly #endpoint: ClientEndpoint;

  private constructor(server: ServerProcess, endpoint: ClientEndpoint) {
    this.#server = server;
    this.#endpoint = endpoint;
  }

  /** @param options `ca`: the path of the CA's certificate */
  static async start(
    options: BareFiles & { readonly ca: string; readonly connections: number },
  ): Promise<BareRest> {
    const server = await startBareServer(options);
    const { hostname, port } = new URL(server.url);
    const endpoint = new ClientEndpoint({
      endpoint: { host: hostname, port: Number(port) },
      ca: await readFile(options.ca),
      region: 'bench-1',
      accessKeyId: 'bench',
      secretAccessKey: 'bench-secret',
      connections: options.connections,
    });
    return new BareRest(server, endpoint);
  }

  get pids(): readonly number[] {
    return [this.#server.pid];
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
    await this.#server.kill('SIGKILL');
  }
}
