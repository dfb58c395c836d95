import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { isInstalled } from './installed.ts';
import type { Measured } from './measured.ts';

const source = fileURLToPath(new URL('load_generator', import.meta.url));
const run = promisify(execFile);

export type Operation = 'put' | 'get' | 'stale';

/** Load from a process of its own, in Go: the same for every server, and little beside what the servers use. */
export class LoadGenerator {
  readonly #program: string;

  private constructor(program: string) {
    this.#program = program;
  }

  /** Whether there is a `go` to build it. */
  static available(): Promise<boolean> {
    return isInstalled('go', ['version']);
  }

  /** @param directory gets the program. */
  static async build(directory: string): Promise<LoadGenerator> {
    const program = join(directory, 'load_generator');
    await run('go', ['build', '-o', program, '.'], { cwd: source });
    return new LoadGenerator(program);
  }

  /** @param server `ca`: the path of a PEM file; `options`: flags of the program beside these */
  async measure(
    server: {
      readonly target: 'etcd' | 'rest';
      readonly url: string;
      readonly ca: string;
      readonly options?: Readonly<Record<string, string>>;
    },
    operation: Operation,
    load: { readonly clients: number; readonly seconds: number },
  ): Promise<Measured> {
    const { target, url, ca, options = {} } = server;
    const { stdout } = await run(this.#program, [
      ...['-target', target, '-endpoint', url, '-ca', ca, '-operation', operation],
      ...['-clients', String(load.clients), '-seconds', String(load.seconds)],
      ...Object.entries(options).flatMap(([name, value]) => [`-${name}`, value]),
    ]);
    return JSON.parse(stdout) as Measured;
  }
}
