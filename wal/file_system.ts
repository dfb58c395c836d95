/**
 * Every file access of `wal/` goes through this port, so that a simulated disk can lose, tear and refuse what a real
 * one may. Paths are made with `node:path`. Errors are those of the system, with their `code` (`EIO`, `ENOSPC`, ...).
 */
export interface FileSystem {
  /** `read` and `write` need the file to exist; `create` (read and write) needs it not to. */
  open(path: string, mode: 'read' | 'write' | 'create'): Promise<File>;
  /** Makes the directory and its parents; fine if it exists. */
  makeDirectory(path: string): Promise<void>;
  /** Names of the entries; empty when there is no such directory. */
  readDirectory(path: string): Promise<readonly string[]>;
  /** Makes created, renamed and unlinked entries of the directory durable. */
  syncDirectory(path: string): Promise<void>;
  /** Replaces `to`. Durable after `syncDirectory`. */
  rename(from: string, to: string): Promise<void>;
  unlink(path: string): Promise<void>;
  freeBytes(path: string): Promise<number>;
  /** Exclusive until released or until the process ends. Undefined when someone else holds it. */
  lock(directory: string): Promise<DirectoryLock | undefined>;
}

export interface File {
  /** Reads at `position` until `target` is full or the file ends; resolves with the number of bytes. */
  read(target: Uint8Array, position: number): Promise<number>;
  /** Writes all of it, one piece behind the other. Not durable before `dataSync`. */
  write(pieces: readonly Uint8Array[], position: number): Promise<void>;
  /** fdatasync: contents and length. */
  dataSync(): Promise<void>;
  /**
   * `write`, then `dataSync`; in one call of the system where it can do so. `ENOSPC` says that the write found no space;
   * where it was the sync that failed for lack of it, the next `dataSync` fails.
   */
  writeDurably(pieces: readonly Uint8Array[], position: number): Promise<void>;
  truncate(sizeBytes: number): Promise<void>;
  size(): Promise<number>;
  close(): Promise<void>;
}

export interface DirectoryLock {
  release(): Promise<void>;
}

/** The `code` of a failed system call. */
export function systemErrorCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/** No space left, or none left for this user. */
export function isNoSpace(error: unknown): boolean {
  const code = systemErrorCode(error);
  return code === 'ENOSPC' || code === 'EDQUOT';
}

/**
 * Writes a small file so that it is there in full or not at all, whatever happens: temporary file, fdatasync, rename,
 * fsync of the directory.
 */
export async function writeFileDurably(
  fileSystem: FileSystem,
  file: { readonly directory: string; readonly name: string; readonly bytes: Uint8Array },
): Promise<void> {
  const path = `${file.directory}/${file.name}`;
  const temporary = `${path}.tmp`;
  const names = await fileSystem.readDirectory(file.directory);
  if (names.includes(`${file.name}.tmp`)) await fileSystem.unlink(temporary);
  const handle = await fileSystem.open(temporary, 'create');
  try {
    await handle.write([file.bytes], 0);
    await handle.dataSync();
  } finally {
    await handle.close();
  }
  await fileSystem.rename(temporary, path);
  await fileSystem.syncDirectory(file.directory);
}

/** Undefined when there is no such file. `limitBytes` bounds what is read into memory. */
export async function readSmallFile(
  fileSystem: FileSystem,
  path: string,
  limitBytes = 64 * 1024,
): Promise<Buffer | undefined> {
  let handle: File;
  try {
    handle = await fileSystem.open(path, 'read');
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
  try {
    const bytes = Buffer.alloc(Math.min(await handle.size(), limitBytes));
    const length = await handle.read(bytes, 0);
    return bytes.subarray(0, length);
  } finally {
    await handle.close();
  }
}
