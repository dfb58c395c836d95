/**
 * Loaded by Node before a real `s3d` (`--import`), for campaigns: what that reads, writes and syncs through its file-system
 * port begins later, as a control file says. The operations themselves are those of the real disk.
 */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemErrorCode, type File } from '../../wal/file_system.ts';
import { NodeFileSystem } from '../../wal/node_file_system.ts';
import { within } from './range.ts';
import { controlVariable, type DiskDelays } from './slow_disk.ts';

/** How old what is known of the control file may be. */
const refreshMs = 200;

class Control {
  readonly #path: string;
  #delays: DiskDelays | undefined;
  #readAtMs = -Infinity;

  constructor(path: string) {
    this.#path = path;
  }

  /** Before an operation of that kind. Without delays: at once. */
  wait(kind: keyof DiskDelays): Promise<void> | undefined {
    if (performance.now() - this.#readAtMs > refreshMs) this.#read();
    if (this.#delays === undefined) return undefined;
    const ms = within(this.#delays[kind], Math.random());
    return ms > 0 ? sleep(ms) : undefined;
  }

  #read(): void {
    this.#readAtMs = performance.now();
    try {
      this.#delays = JSON.parse(readFileSync(this.#path, 'utf8')) as DiskDelays;
    } catch (error) {
      if (systemErrorCode(error) !== 'ENOENT') throw error;
      this.#delays = undefined;
    }
  }
}

class DelayedFile implements File {
  readonly #file: File;
  readonly #control: Control;

  constructor(file: File, control: Control) {
    this.#file = file;
    this.#control = control;
  }

  async read(target: Uint8Array, position: number): Promise<number> {
    await this.#control.wait('read');
    return this.#file.read(target, position);
  }

  async write(pieces: readonly Uint8Array[], position: number): Promise<void> {
    await this.#control.wait('write');
    return this.#file.write(pieces, position);
  }

  async dataSync(): Promise<void> {
    await this.#control.wait('sync');
    return this.#file.dataSync();
  }

  async writeDurably(pieces: readonly Uint8Array[], position: number): Promise<void> {
    await this.#control.wait('write');
    await this.#control.wait('sync');
    return this.#file.writeDurably(pieces, position);
  }

  truncate(sizeBytes: number): Promise<void> {
    return this.#file.truncate(sizeBytes);
  }

  size(): Promise<number> {
    return this.#file.size();
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}

const path = process.env[controlVariable];
if (path !== undefined) {
  const control = new Control(path);
  // eslint-disable-next-line @typescript-eslint/unbound-method -- it is called with the file system it belongs to
  const { open } = NodeFileSystem.prototype;
  NodeFileSystem.prototype.open = async function (name, mode): Promise<File> {
    return new DelayedFile(await open.call(this, name, mode), control);
  };
}
