import { spawn } from 'node:child_process';
import { Socket as DatagramSocket } from 'node:dgram';
import { Server } from 'node:net';
import { fileURLToPath } from 'node:url';
import type { ListenAddress, PathQuality } from './path.ts';
import { SlowConnections } from './slow_connections.ts';
import { SlowDatagrams } from './slow_datagrams.ts';

const helper = fileURLToPath(new URL('./bind_listeners.ts', import.meta.url));
const bindMs = 30_000;

interface PathOptions extends PathQuality {
  /** What to put before a command so that it runs where the listeners are to be. */
  readonly prefix: readonly string[];
  /** Who to stand in for: the addresses must be local there, and lead to the true ones from here. */
  readonly addresses: readonly ListenAddress[];
}

/**
 * A proxy for TCP and UDP that takes time. It listens in another network namespace, where it has the addresses of those it
 * stands in for, and calls these from here. Bounded: connections, bytes held for each, datagrams on their way.
 */
export class SlowPath {
  readonly #connections: SlowConnections;
  readonly #datagrams: SlowDatagrams;

  private constructor(options: PathOptions) {
    this.#connections = new SlowConnections(options);
    this.#datagrams = new SlowDatagrams(options);
  }

  /** @throws when an address can't be listened at */
  static async open(options: PathOptions): Promise<SlowPath> {
    const path = new SlowPath(options);
    try {
      await path.#listen(options);
    } catch (error) {
      path.close();
      throw error;
    }
    return path;
  }

  /** Everything that passes through breaks. */
  close(): void {
    this.#connections.close();
    this.#datagrams.close();
  }

  async #listen({ prefix, addresses }: PathOptions): Promise<void> {
    if (addresses.length === 0) return;
    const command = [...prefix, process.execPath, helper, JSON.stringify(addresses)];
    const child = spawn(command[0] ?? '', command.slice(1), { stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
    let errors = '';
    child.stderr?.on('data', (data: Buffer) => (errors += data.toString()));
    let missing = 2 * addresses.length;
    let late: NodeJS.Timeout | undefined;
    try {
      await new Promise<void>((resolve, reject) => {
        const fail = (why: string): void => reject(new Error(`a proxy could not listen: ${why} ${errors}`));
        late = setTimeout(() => fail(`not within ${bindMs} ms`), bindMs);
        child.once('error', reject);
        child.once('close', (code, signal) => {
          if (code !== 0) fail(String(code ?? signal));
        });
        child.on('message', (address: ListenAddress, handle) => {
          if (handle instanceof Server) this.#connections.listen(handle, address);
          else if (handle instanceof DatagramSocket) this.#datagrams.listen(handle, address);
          missing -= 1;
          if (missing === 0) resolve();
        });
      });
    } catch (error) {
      child.kill('SIGKILL');
      throw error;
    } finally {
      clearTimeout(late);
    }
  }
}
