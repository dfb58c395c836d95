import { open, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { syncDirectory } from '../wal/sync_directory.ts';

// For those above, who may not look into the log's folder.
export { syncDirectory };

/** Writes a file that its owner alone may read, and syncs it; its entry is durable after `syncDirectory`. */
export async function writeSynced(path: string, content: string | Uint8Array): Promise<void> {
  const file = await open(path, 'w', 0o600);
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Gives the file new content, all or nothing, durably. `temporary` (on the same disk) is where it is written first. */
export async function replaceFile(
  path: string,
  options: { readonly temporary: string; readonly content: string },
): Promise<void> {
  await writeSynced(options.temporary, options.content);
  await rename(options.temporary, path);
  await syncDirectory(dirname(path));
}

/** Whether it is the system's error of one of these codes, such as ENOENT. */
export function hasCode(error: unknown, ...codes: readonly string[]): boolean {
  return error instanceof Error && 'code' in error && codes.some((code) => code === error.code);
}
