import type { ServerProcess } from '../cluster/server_process.ts';
import { type BareFiles, startBareServer } from './bare_process.ts';
import type { LoadGenerator, Operation } from './load_generator.ts';
import type { Measured } from './measured.ts';

/**
 * What REST can reach here at most: one HTTPS server of Node that checks no signature, keeps nothing and asks nobody,
 * called as the REST service is.
 */
export class BareRest {
  readonly #server: ServerProcess;
  readonly #generator: LoadGenerator;
  readonly #ca: string;

  private constructor(server: ServerProcess, generator: LoadGenerator, ca: string) {
    this.#server = server;
    this.#generator = generator;
    this.#ca = ca;
  }

  /** @param files `ca`: the path of the CA's certificate */
  static async start(
    generator: LoadGenerator,
    files: BareFiles & { readonly ca: string },
  ): Promise<BareRest> {
    return new BareRest(await startBareServer(files), generator, files.ca);
  }

  get pids(): readonly number[] {
    return [this.#server.pid];
  }

  /** @param load `bytes`: of an answer to a read */
  measure(
    operation: Operation,
    load: { readonly clients: number; readonly seconds: number; readonly bytes: number },
  ): Promise<Measured> {
    const options = {
      query: `size=${load.bytes}`,
      region: 'bench-1',
      'access-key': 'bench',
      'secret-key': 'bench-secret',
    };
    const server = { target: 'rest', url: this.#server.url, ca: this.#ca, options } as const;
    return this.#generator.measure(server, operation === 'put' ? 'put' : 'get', load);
  }

  async close(): Promise<void> {
    await this.#server.kill('SIGKILL');
  }
}
