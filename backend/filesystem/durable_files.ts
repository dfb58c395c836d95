import { mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';

/** Makes the entries of a directory durable: what was created, renamed or removed in it. */
export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

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

/** Gives the file new content, all or nothing, durably. */
export async function replaceFile(
  path: string,
  options: { readonly temporary: string; readonly content: string },
): Promise<void> {
  const file = await open(options.temporary, 'w', 0o600);
  try {
    await file.writeFile(options.content);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(options.temporary, path);
  await syncDirectory(dirname(path));
}

export function hasCode(error: unknown, ...codes: readonly string[]): boolean {
  return error instanceof Error && 'code' in error && codes.some((code) => code === error.code);
}
