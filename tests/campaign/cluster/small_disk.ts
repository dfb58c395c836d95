import { execFile } from 'node:child_process';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
/** The node whose directory is a small mount of its own, where mounts can be made. */
const node = 4;
const sizeBytes = 1536 * 1024 * 1024;
const leftBytes = 200 * 1024 * 1024;

/** A disk that something else can fill. */
export class SmallDisk {
  readonly #place: string;

  private constructor(place: string) {
    this.#place = place;
  }

  /** Before the fleet starts in the directory: gives one node a small disk, where that can be done. */
  static async mount(directory: string): Promise<SmallDisk | undefined> {
    const place = join(directory, 'data', 'shards', `node-${node}`);
    await mkdir(place, { recursive: true });
    try {
      await run('mount', ['-t', 'tmpfs', '-o', `size=${sizeBytes}`, 's3d-campaign', place]);
      return new SmallDisk(place);
    } catch {
      // Not allowed here: the full disk is left out, and the report says so.
      return undefined;
    }
  }

  /** Leaves too little for what comes. */
  async fill(): Promise<{ readonly node: number; readonly bytes: number }> {
    const { stdout } = await run('df', ['--output=avail', '-B1', this.#place]);
    const bytes = Math.max(Number(stdout.split('\n')[1]) - leftBytes, 1);
    await run('fallocate', ['-l', String(bytes), join(this.#place, 'ballast')]);
    return { node, bytes };
  }

  async empty(): Promise<void> {
    await rm(join(this.#place, 'ballast'), { force: true });
  }

  async close(): Promise<void> {
    await run('umount', ['-l', this.#place]);
  }
}
