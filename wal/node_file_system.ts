import * as fs from 'node:fs';
import * as path from 'node:path';
import { Level } from 'level';
import { destroyLevel, isLevelFull } from './level_index.ts';
import { systemErrorCode, type DirectoryLock, type File, type FileSystem } from './file_system.ts';
import { syncDirectory } from './sync_directory.ts';

/** The real disk, by `node:fs`. Raw descriptors and callbacks: FileHandle costs a third of the small reads a second. */
export class NodeFileSystem implements FileSystem {
  async open(name: string, mode: 'read' | 'write' | 'create'): Promise<File> {
    const descriptor = await openDescriptor(name, mode === 'read' ? 'r' : mode === 'write' ? 'r+' : 'wx+');
    return new NodeFile(name, descriptor);
  }

  async makeDirectory(name: string): Promise<void> {
    const first = await fs.promises.mkdir(name, { recursive: true, mode: 0o700 });
    // What was made must survive as well: sync the parent of each new directory.
    for (let made = name; first !== undefined; made = path.dirname(made)) {
      await this.syncDirectory(path.dirname(made));
      if (path.resolve(made) === path.resolve(first)) break;
    }
  }

  async readDirectory(name: string): Promise<readonly string[]> {
    try {
      return await fs.promises.readdir(name);
    } catch (error) {
      if (systemErrorCode(error) === 'ENOENT') return [];
      throw error;
    }
  }

  syncDirectory(name: string): Promise<void> {
    return syncDirectory(name);
  }

  async rename(from: string, to: string): Promise<void> {
    await fs.promises.rename(from, to);
  }

  async unlink(name: string): Promise<void> {
    await fs.promises.unlink(name);
  }

  async freeBytes(name: string): Promise<number> {
    const stats = await fs.promises.statfs(name);
    return stats.bavail * stats.bsize;
  }

  async lock(directory: string): Promise<DirectoryLock | undefined> {
    const name = path.join(directory, 'lock');
    try {
      return await holdLevel(name);
    } catch (error) {
      if (isLocked(error)) return undefined;
      if (isLevelFull(error)) {
        throw Object.assign(new Error(`no space left for ${name}`, { cause: error }), { code: 'ENOSPC' });
      }
      // The lock is taken before anything is read, so nobody has it; and nothing is kept in it.
      await destroyLevel(name);
    }
    try {
      return await holdLevel(name);
    } catch (error) {
      if (isLocked(error)) return undefined;
      throw error;
    }
  }
}

async function holdLevel(name: string): Promise<DirectoryLock> {
  const holder = new Level(name, { writeBufferSize: 64 * 1024, cacheSize: 0 });
  await holder.open();
  return { release: () => holder.close() };
}

function isLocked(error: unknown): boolean {
  return error instanceof Error && systemErrorCode(error.cause) === 'LEVEL_LOCKED';
}

/**
 * A write with O_DSYNC is a write and an fdatasync in one turn of the thread pool, which spares a third of their CPU. Not on
 * macOS, where only fsync's own call reaches the platter.
 */
const canWriteSynced = process.platform === 'linux';
/** IOV_MAX of Linux: more pieces are several writes, and each would be synced by itself. */
const maxSyncedPieces = 1024;

function openDescriptor(name: string, flags: string | number): Promise<number> {
  return new Promise((resolve, reject) => {
    fs.open(name, flags, 0o600, (error, opened) => (error ? reject(error) : resolve(opened)));
  });
}

class NodeFile implements File {
  readonly #name: string;
  readonly #descriptor: number;
  /** Of the same file, with O_DSYNC. Opened when it is first needed. */
  #synced: Promise<number> | undefined;

  constructor(name: string, descriptor: number) {
    this.#name = name;
    this.#descriptor = descriptor;
  }

  async read(target: Uint8Array, position: number): Promise<number> {
    let filled = 0;
    while (filled < target.length) {
      const count = await this.#readOnce(filled === 0 ? target : target.subarray(filled), position + filled);
      if (count === 0) break;
      filled += count;
    }
    return filled;
  }

  write(pieces: readonly Uint8Array[], position: number): Promise<void> {
    return writeAll(this.#descriptor, pieces, position);
  }

  async writeDurably(pieces: readonly Uint8Array[], position: number): Promise<void> {
    if (!canWriteSynced || pieces.length > maxSyncedPieces) {
      await this.write(pieces, position);
      try {
        await this.dataSync();
      } catch (error) {
        throw Object.assign(new Error(`fdatasync of ${this.#name} failed`, { cause: error }), {
          code: 'EIO',
        });
      }
      return;
    }
    this.#synced ??= openDescriptor(this.#name, fs.constants.O_WRONLY | fs.constants.O_DSYNC);
    await writeAll(await this.#synced, pieces, position);
  }

  dataSync(): Promise<void> {
    return new Promise((resolve, reject) => {
      fs.fdatasync(this.#descriptor, (error) => (error ? reject(error) : resolve()));
    });
  }

  truncate(sizeBytes: number): Promise<void> {
    return new Promise((resolve, reject) => {
      fs.ftruncate(this.#descriptor, sizeBytes, (error) => (error ? reject(error) : resolve()));
    });
  }

  size(): Promise<number> {
    return new Promise((resolve, reject) => {
      fs.fstat(this.#descriptor, (error, stats) => (error ? reject(error) : resolve(stats.size)));
    });
  }

  async close(): Promise<void> {
    // Whoever wanted to write was told.
    const synced = await this.#synced?.catch(() => undefined);
    await closeDescriptor(this.#descriptor);
    if (synced !== undefined) await closeDescriptor(synced);
  }

  #readOnce(target: Uint8Array, position: number): Promise<number> {
    return new Promise((resolve, reject) => {
      fs.read(this.#descriptor, target, 0, target.length, position, (error, count) =>
        error ? reject(error) : resolve(count),
      );
    });
  }
}

function closeDescriptor(descriptor: number): Promise<void> {
  return new Promise((resolve, reject) => {
    fs.close(descriptor, (error) => (error ? reject(error) : resolve()));
  });
}

async function writeAll(descriptor: number, pieces: readonly Uint8Array[], position: number): Promise<void> {
  let rest = pieces;
  let at = position;
  while (rest.length > 0) {
    const count = await writeOnce(descriptor, rest, at);
    at += count;
    rest = behind(rest, count);
  }
}

function writeOnce(descriptor: number, pieces: readonly Uint8Array[], position: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const done = (error: Error | null, count: number): void => (error ? reject(error) : resolve(count));
    const only = pieces[0];
    if (pieces.length === 1 && only !== undefined) {
      fs.write(descriptor, only, 0, only.length, position, done);
    } else {
      fs.writev(descriptor, pieces, position, done);
    }
  });
}

/** What of `pieces` is left after the first `count` bytes; empty pieces are dropped, so that a write always moves. */
function behind(pieces: readonly Uint8Array[], count: number): readonly Uint8Array[] {
  let skip = count;
  const rest: Uint8Array[] = [];
  for (const piece of pieces) {
    if (skip >= piece.length) skip -= piece.length;
    else {
      rest.push(skip === 0 ? piece : piece.subarray(skip));
      skip = 0;
    }
  }
  return rest;
}
