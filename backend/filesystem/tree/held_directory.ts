import { constants, existsSync } from 'node:fs';
import { lstat, mkdir, open, readdir, rename, rmdir, unlink, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { hasCode } from '../../../s3db/durable_files.ts';

const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK } = constants;

/** What an entry of a directory is. Symbolic links, devices, sockets and pipes are `other`: never followed or opened. */
type EntryKind = 'file' | 'directory' | 'other';

/**
 * An open directory, through which its entries are reached. On Linux every step goes through the open descriptor
 * (`/proc/self/fd/N/name`, as openat does), with O_NOFOLLOW: whoever swaps a directory for a symbolic link while a
 * key is resolved can't lead the process out of the tree. Elsewhere the path is walked by name and each component
 * is opened with O_NOFOLLOW, which leaves that race to those who can write into the tree.
 */
export class HeldDirectory {
  readonly #handle: FileHandle;
  readonly #path: string;

  private constructor(handle: FileHandle, path: string) {
    this.#handle = handle;
    this.#path = viaDescriptor ? `/proc/self/fd/${handle.fd}` : path;
  }

  /** The top: a path that the configuration names, which may itself be a symbolic link. */
  static async open(path: string): Promise<HeldDirectory> {
    return new HeldDirectory(await open(path, O_RDONLY | O_DIRECTORY), path);
  }

  /** Undefined where there is no directory of that name: nothing, a file or a symbolic link. */
  async enter(name: string): Promise<HeldDirectory | undefined> {
    const path = this.#at(name);
    try {
      return new HeldDirectory(await open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW), path);
    } catch (error) {
      if (hasCode(error, 'ENOENT', 'ENOTDIR', 'ELOOP')) return undefined;
      throw error;
    }
  }

  /** Makes the directory durably if there is nothing of that name. Undefined where something else is in its place. */
  async enterOrMake(name: string): Promise<HeldDirectory | undefined> {
    const there = await this.enter(name);
    if (there !== undefined) return there;
    try {
      await mkdir(this.#at(name));
    } catch (error) {
      if (!hasCode(error, 'EEXIST')) throw error;
    }
    await this.sync();
    return this.enter(name);
  }

  /** Undefined where there is no regular file of that name. */
  async openFile(name: string): Promise<FileHandle | undefined> {
    let file: FileHandle;
    try {
      // O_NONBLOCK: opening a pipe must not wait for its other end.
      file = await open(this.#at(name), O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    } catch (error) {
      if (hasCode(error, 'ENOENT', 'ENOTDIR', 'ELOOP', 'ENXIO', 'ENODEV')) return undefined;
      throw error;
    }
    const kept = await isRegular(file);
    if (kept) return file;
    await file.close();
    return undefined;
  }

  /** A new file; nothing of that name may be there. */
  async createFile(name: string): Promise<FileHandle> {
    const { O_WRONLY, O_CREAT, O_EXCL } = constants;
    return open(this.#at(name), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o666);
  }

  async kindOf(name: string): Promise<EntryKind | undefined> {
    try {
      return kindFrom(await lstat(this.#at(name)));
    } catch (error) {
      if (hasCode(error, 'ENOENT', 'ENOTDIR')) return undefined;
      throw error;
    }
  }

  /** Names that are valid UTF-8, with their kinds, in no order. */
  async entries(): Promise<{ readonly name: string; readonly kind: EntryKind }[]> {
    const all = await readdir(this.#path, { withFileTypes: true, encoding: 'buffer' });
    const named: { name: string; kind: EntryKind }[] = [];
    for (const entry of all) {
      const name = entry.name.toString('utf8');
      if (!Buffer.from(name, 'utf8').equals(entry.name)) continue;
      named.push({ name, kind: kindFrom(entry) });
    }
    return named;
  }

  /** Moves a file of this directory over whatever file has the name there. Neither end is followed. */
  async moveTo(
    name: string,
    target: { readonly directory: HeldDirectory; readonly name: string },
  ): Promise<void> {
    await rename(this.#at(name), target.directory.#at(target.name));
  }

  /** False: it wasn't there. */
  async unlink(name: string): Promise<boolean> {
    try {
      await unlink(this.#at(name));
      return true;
    } catch (error) {
      if (hasCode(error, 'ENOENT', 'ENOTDIR')) return false;
      throw error;
    }
  }

  /** False: it isn't empty, or isn't there. */
  async removeEmpty(name: string): Promise<boolean> {
    try {
      await rmdir(this.#at(name));
      return true;
    } catch (error) {
      if (hasCode(error, 'ENOTEMPTY', 'EEXIST', 'ENOENT', 'ENOTDIR', 'EBUSY')) return false;
      throw error;
    }
  }

  /** Makes the entries durable. */
  async sync(): Promise<void> {
    await this.#handle.sync();
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }

  #at(name: string): string {
    return join(this.#path, name);
  }
}

const viaDescriptor = existsSync('/proc/self/fd');

async function isRegular(file: FileHandle): Promise<boolean> {
  return (await file.stat()).isFile();
}

function kindFrom(entry: { isFile(): boolean; isDirectory(): boolean }): EntryKind {
  if (entry.isFile()) return 'file';
  return entry.isDirectory() ? 'directory' : 'other';
}
