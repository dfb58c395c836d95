import { mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { syncDirectory } from './durable_files.ts';
import { NumberedDirectories } from './numbered_directories.ts';

/**
 * A replica's state lives in `state-<number>`, the one with the highest number. A snapshot is staged in `incoming` and
 * becomes the state by one rename to the next number.
 */
const stagingName = 'incoming';
export const stateDirectories = new NumberedDirectories('state');

/** The directory of the current state, made if there is none. What an interrupted install left is removed. */
export async function currentStateDirectory(directory: string): Promise<string> {
  await mkdir(directory, { recursive: true });
  const newest = (await stateDirectories.numbers(directory)).at(-1);
  await rm(join(directory, stagingName), { recursive: true, force: true });
  await removeOldStates(directory);
  const path = stateDirectories.path(directory, newest ?? 1);
  if (newest === undefined) {
    await mkdir(path);
    await syncDirectory(directory);
  }
  return path;
}

/** An empty directory to stage a snapshot in; a former one is removed. */
export async function stagingDirectory(directory: string): Promise<string> {
  const path = join(directory, stagingName);
  await rm(path, { recursive: true, force: true });
  await mkdir(path);
  return path;
}

/** What is staged becomes the state, durably. Resolves with its directory; the old one stays until `removeOldStates`. */
export async function switchToStaged(directory: string): Promise<string> {
  const staged = join(directory, stagingName);
  await syncDirectory(staged);
  const newest = (await stateDirectories.numbers(directory)).at(-1) ?? 0;
  const path = stateDirectories.path(directory, newest + 1);
  await rename(staged, path);
  await syncDirectory(directory);
  return path;
}

export async function removeOldStates(directory: string): Promise<void> {
  const numbers = await stateDirectories.numbers(directory);
  for (const number of numbers.slice(0, -1)) {
    await rm(stateDirectories.path(directory, number), { recursive: true, force: true });
  }
}
