import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, type WriteStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const binary = fileURLToPath(new URL('../../bin/s3d', import.meta.url));

export interface StartOptions {
  /** What to call it in messages. */
  readonly name: string;
  readonly args: readonly string[];
  /** Default: `bin/s3d`. Must print a ready line as that does. */
  readonly command?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Gets stderr (the log). */
  readonly logFile: string;
  /** Until the ready line. */
  readonly readyMs?: number;
}

/** None may outlive whoever started it, not even one that fails. */
const running = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** One running `bin/s3d`. The launcher execs, so the process id is the server's own. */
export class ServerProcess {
  readonly name: string;
  readonly #child: ChildProcess;
  readonly #log: WriteStream;
  readonly #exit: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  #exited = false;
  #url = '';
  readonly #stdout: string[] = [];

  private constructor(child: ChildProcess, options: StartOptions) {
    this.name = options.name;
    this.#child = child;
    this.#log = createWriteStream(options.logFile, { flags: 'a' });
    child.stderr?.pipe(this.#log);
    running.add(child);
    this.#exit = once(child, 'exit').then(([code, signal]) => {
      running.delete(child);
      this.#exited = true;
      return { code: code as number | null, signal: signal as NodeJS.Signals | null };
    });
  }

  /** Starts the process and waits for its ready line. @throws when it exits first or takes too long. */
  static async start(options: StartOptions): Promise<ServerProcess> {
    const child = spawn(options.command ?? binary, options.args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...options.env },
    });
    const server = new ServerProcess(child, options);
    const ready = server.#readUntilReady(child);
    let timer: NodeJS.Timeout | undefined;
    const timeout = new Promise<never>((_resolve, reject) => {
      const ms = options.readyMs ?? 60_000;
      timer = setTimeout(
        () => reject(new Error(`${options.name} was not ready within ${ms} ms; see ${options.logFile}`)),
        ms,
      );
    });
    try {
      server.#url = await Promise.race([ready, timeout]);
    } catch (error) {
      await server.kill('SIGKILL');
      throw error;
    } finally {
      clearTimeout(timer);
    }
    return server;
  }

  /** The URL of the ready line. */
  get url(): string {
    return this.#url;
  }

  get pid(): number {
    if (this.#child.pid === undefined) throw new Error(`${this.name} has no process id`);
    return this.#child.pid;
  }

  get running(): boolean {
    return !this.#exited;
  }

  /** What it printed on stdout. */
  get stdout(): readonly string[] {
    return this.#stdout;
  }

  /** Sends a signal without waiting. */
  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Sends the signal and waits for the exit. */
  async kill(signal: NodeJS.Signals): Promise<{ code: number | null; signal: NodeJS.Signals | null }> {
    if (!this.#exited) this.#child.kill(signal);
    return this.exit();
  }

  /** Resolves when it has exited, by itself or not. */
  async exit(): Promise<{ code: number | null; signal: NodeJS.Signals | null }> {
    return this.#exit;
  }

  async #readUntilReady(child: ChildProcess): Promise<string> {
    if (child.stdout === null) throw new Error('stdout is not piped');
    const lines = createInterface({ input: child.stdout });
    return new Promise((resolve, reject) => {
      lines.on('line', (line) => {
        this.#stdout.push(line);
        const match = /^s3d ready (\S+)$/.exec(line);
        if (match?.[1] !== undefined) resolve(match[1]);
      });
      child.once('error', reject);
      child.once('exit', (code, signal) =>
        reject(new Error(`${this.name} exited (${code ?? signal ?? ''}) before it was ready`)),
      );
    });
  }
}
