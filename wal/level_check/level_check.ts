import { open, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { MalformedBytesError } from '../byte_codec.ts';
import { LevelDamagedError } from './damage.ts';
import { readLogFile } from './log_file.ts';
import { readManifest, type LevelVersion } from './manifest.ts';
import { checkTableFile } from './table_file.ts';

/**
 * Reads every file of a Level that is closed and checks all of LevelDB's checksums. LevelDB itself does not: it passes over
 * damage in its logs, and reads of tables trust index, filter and blocks, so that a flipped bit can make a row vanish in
 * silence. What a crash may leave (the torn end of the newest log) is fine: it was never acknowledged.
 * A directory that is empty or missing is a new Level.
 * @throws LevelDamagedError naming the file. Errors of the file system pass through.
 */
export async function checkLevel(directory: string): Promise<void> {
  const names = await namesIn(directory);
  const present = filesAmong(names);
  if (!names.includes('CURRENT')) {
    if (present.logs.length + present.tables.size + present.manifests === 0) return;
    throw new LevelDamagedError(`${directory}: CURRENT is missing`);
  }
  const version = await readVersion(directory, names, present.logs);
  await checkLogs(
    directory,
    present.logs.filter((log) => isLive(version, log.number)),
  );
  for (const [number, sizeBytes] of version.tables) {
    const name = present.tables.get(number);
    if (name === undefined) throw new LevelDamagedError(`${directory}: table ${number} is missing`);
    await naming(join(directory, name), (path) => checkTable(path, sizeBytes));
  }
}

interface NumberedFile {
  readonly number: number;
  readonly name: string;
}

interface LevelFiles {
  /** Oldest first. */
  readonly logs: readonly NumberedFile[];
  readonly tables: ReadonlyMap<number, string>;
  readonly manifests: number;
}

async function namesIn(directory: string): Promise<readonly string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return [];
    throw error;
  }
}

function filesAmong(names: readonly string[]): LevelFiles {
  const logs: NumberedFile[] = [];
  const tables = new Map<number, string>();
  let manifests = 0;
  for (const name of names) {
    const [, digits, kind] = /^(\d+)\.(log|ldb|sst)$/.exec(name) ?? [];
    const number = Number(digits);
    if (kind === 'log') logs.push({ number, name });
    else if (kind !== undefined) tables.set(number, name);
    else if (/^MANIFEST-\d+$/.test(name)) manifests++;
  }
  return { logs: logs.sort((a, b) => a.number - b.number), tables, manifests };
}

async function readVersion(
  directory: string,
  names: readonly string[],
  logs: readonly NumberedFile[],
): Promise<LevelVersion> {
  const current = await readFile(join(directory, 'CURRENT'), 'latin1');
  const [, name] = /^(MANIFEST-\d+)\n$/.exec(current) ?? [];
  if (name === undefined || !names.includes(name)) {
    throw new LevelDamagedError(`${directory}: CURRENT names no MANIFEST that is there`);
  }
  return naming(join(directory, name), async (path) => {
    const { records, end } = readLogFile(await readFile(path));
    if (end === 'damaged' || records.length === 0) throw new LevelDamagedError('it is damaged');
    const version = readManifest(records);
    const newest = logs.at(-1)?.number ?? 0;
    // A log is removed only once the edit that lets it go is durable: without that edit, rows would be gone unseen.
    if (newest > version.logNumber && !logs.some((log) => log.number === version.logNumber)) {
      throw new LevelDamagedError(`log ${version.logNumber} is missing`);
    }
    return version;
  });
}

function isLive({ logNumber, previousLogNumber }: LevelVersion, log: number): boolean {
  return log >= logNumber || (previousLogNumber !== 0 && log === previousLogNumber);
}

async function checkLogs(directory: string, logs: readonly NumberedFile[]): Promise<void> {
  for (const log of logs) {
    await naming(join(directory, log.name), async (path) => {
      const { end } = readLogFile(await readFile(path));
      // A log is left for the next only when it is whole.
      if (end === 'damaged' || (end === 'torn' && log !== logs.at(-1))) {
        throw new LevelDamagedError('it is damaged');
      }
    });
  }
}

async function checkTable(path: string, sizeBytes: number): Promise<void> {
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat();
    if (size !== sizeBytes)
      throw new LevelDamagedError(`it has ${size} bytes, the MANIFEST says ${sizeBytes}`);
    await checkTableFile(file, sizeBytes);
  } finally {
    await file.close();
  }
}

async function naming<T>(path: string, check: (path: string) => Promise<T>): Promise<T> {
  try {
    return await check(path);
  } catch (error) {
    const isDamage = error instanceof LevelDamagedError || error instanceof MalformedBytesError;
    throw isDamage ? new LevelDamagedError(`${path}: ${error.message}`, { cause: error }) : error;
  }
}
