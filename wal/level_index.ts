import { Level } from 'level';
import { LogFullError } from './errors.ts';
import { systemErrorCode } from './file_system.ts';
import type { IndexOperation, IndexStorage } from './index_storage.ts';
import { LevelDamagedError } from './level_check/damage.ts';
import { checkLevel } from './level_check/level_check.ts';

type Database = Level<Uint8Array, Uint8Array>;

const FULL = /no space|disk quota/i;
/** Failures of opening that say nothing about what the directory holds. */
const NOT_DAMAGE = /too many open|permission denied|read-only|cannot allocate/i;

/** `IndexStorage` on a Level database. One that is damaged or can't be opened is removed and begun anew. */
export class LevelIndex implements IndexStorage {
  /** Whether what was there had to be given up. */
  readonly discarded: boolean;
  #database: Database;
  readonly #directory: string;

  private constructor(parts: {
    readonly database: Database;
    readonly directory: string;
    readonly discarded: boolean;
  }) {
    this.#database = parts.database;
    this.#directory = parts.directory;
    this.discarded = parts.discarded;
  }

  /** @throws LogFullError when what an open writes finds no space */
  static async open(directory: string): Promise<LevelIndex> {
    try {
      // The store has the log's lock, so nobody else has this open.
      await checkLevel(directory);
      return new LevelIndex({ database: await openLevel(directory), directory, discarded: false });
    } catch (error) {
      if (!isDamage(error)) throw error;
    }
    await destroyLevel(directory);
    return new LevelIndex({ database: await openLevel(directory), directory, discarded: true });
  }

  get(key: Uint8Array): Uint8Array | undefined {
    return this.#database.getSync(key);
  }

  async write(operations: readonly IndexOperation[]): Promise<void> {
    const batch = operations.map(({ key, value }) =>
      value === undefined ? { type: 'del' as const, key } : { type: 'put' as const, key, value },
    );
    await this.#database.batch(batch, { sync: true });
  }

  async *entries(range: {
    readonly from: Uint8Array;
    readonly to: Uint8Array;
  }): AsyncGenerator<readonly [Uint8Array, Uint8Array]> {
    for await (const entry of this.#database.iterator({ gte: range.from, lt: range.to })) yield entry;
  }

  async clear(): Promise<void> {
    // Removing the files costs no write per key, and leaves no damaged table behind.
    await this.#database.close();
    await destroyLevel(this.#directory);
    this.#database = await openLevel(this.#directory);
  }

  close(): Promise<void> {
    return this.#database.close();
  }

  async destroy(): Promise<void> {
    await this.#database.close();
    await destroyLevel(this.#directory);
  }
}

/** @throws LogFullError when what an open writes finds no space */
async function openLevel(directory: string): Promise<Database> {
  const database: Database = new Level(directory, {
    keyEncoding: 'view',
    valueEncoding: 'view',
    compression: false,
  });
  try {
    await database.open();
  } catch (error) {
    if (isLevelFull(error)) throw new LogFullError(`no space left to open ${directory}`, { cause: error });
    throw error;
  }
  return database;
}

/** Removes the files of a Level that nobody has open. */
export function destroyLevel(directory: string): Promise<void> {
  // On Node, Level is classic-level's class; the types of `level` only have what browsers have too.
  return (Level as unknown as { destroy(location: string): Promise<void> }).destroy(directory);
}

/** Whether a Level could not be opened because the disk is full. */
export function isLevelFull(error: unknown): boolean {
  const cause = error instanceof Error ? error.cause : undefined;
  return cause instanceof Error && FULL.test(cause.message);
}

function isDamage(error: unknown): boolean {
  if (error instanceof LevelDamagedError) return true;
  if (error instanceof LogFullError) return false;
  if (systemErrorCode(error) === 'EIO') return true;
  const cause = error instanceof Error ? error.cause : undefined;
  if (systemErrorCode(cause) === 'LEVEL_LOCKED') return false;
  return !(cause instanceof Error && NOT_DAMAGE.test(cause.message));
}
