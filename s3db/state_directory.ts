import { mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * A replica's state lives in `state-<number>`, the one with the highest number. A snapshot is staged in `incoming` and
 * becomes the state by one rename to the next number.
 */
const stagingName = 'incoming';
const stateName = /^state-(\d{6})$/;

/** The directory of the current state, made if there is none. What an interrupted install left is removed. */
export async function currentStateDirectory(directory: string): Promise<string> {
  await mkdir(directory, { recursive: true });
  const numbers = await stateNumbers(directory);
  const newest = numbers.at(-1);
  await rm(join(directory, stagingName), { recursive: true, force: true });
  for (const number of numbers.slice(0, -1)) await removeState(directory, number);
  const path = statePath(directory, newest ?? 1);
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
  const newest = (await stateNumbers(directory)).at(-1) ?? 0;
  const path = statePath(directory, newest + 1);
  await rename(staged, path);
  await syncDirectory(directory);
  return path;
}

export async function removeOldStates(directory: string): Promise<void> {
  const numbers = await stateNumbers(directory);
  for (const number of numbers.slice(0, -1)) await removeState(directory, number);
}

async function stateNumbers(directory: string): Promise<number[]> {
  const names = await readdir(directory);
  return names
    .map((name) => stateName.exec(name)?.[1])
    .filter((digits) => digits !== undefined)
    .map(Number)
    .sort((a, b) => a - b);
}

function statePath(directory: string, number: number): string {
  return join(directory, `state-${String(number).padStart(6, '0')}`);
}

async function removeState(directory: string, number: number): Promise<void> {
  await rm(statePath(directory, number), { recursive: true, force: true });
}

async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
