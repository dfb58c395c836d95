import { mkdir, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { syncDirectory } from '../../s3db/durable_files.ts';

/** Makes a directory and those above it as needed, each durably. */
export async function makeDirectory(path: string): Promise<void> {
  const first = await mkdir(path, { recursive: true });
  if (first === undefined) return;
  for (let made = path; ; made = dirname(made)) {
    await syncDirectory(dirname(made));
    if (made === first || made === dirname(made)) return;
  }
}

/** An empty directory for files that are being written: what an earlier process left there goes. */
export async function makeEmptyDirectory(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true });
  await makeDirectory(path);
}
