import { open } from 'node:fs/promises';

/** Makes the entries of a directory durable: what was created, renamed or removed in it. */
export async function syncDirectory(path: string): Promise<void> {
  // Windows can't open a directory for syncing; NTFS journals its entries.
  if (process.platform === 'win32') return;
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
