import { constants } from 'node:fs';
import { mkdir, open, readdir, readFile, rename, unlink, type FileHandle } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { hasCode, replaceFile, syncDirectory } from '../../s3db/durable_files.ts';
import { UnavailableError } from '../../s3db/errors.ts';
import {
  ContentMissingError,
  type ContentId,
  type DataStore,
  type Locator,
  type ReadContentOptions,
  type WriteContentOptions,
  type WrittenContent,
} from '../data_store.ts';
import { decodeRecord, encodeRecord } from '../engine/record.ts';
import { OwnedStream } from '../engine/owned_stream.ts';
import { defaultBlockBytes, readBlocks, writeBlocks } from './block_file.ts';
import { makeDirectory, makeEmptyDirectory } from './durable_directories.ts';

const LOCATOR_VERSION = 1;
const contentIdBytes = 32;
const fanDirectories = Array.from({ length: 256 }, (_, i) => i.toString(16).padStart(2, '0'));

/** What the name of a file tells. */
interface StoredContent {
  readonly contentId: Uint8Array;
  /** Number of the start in which it was written. */
  readonly run: number;
}

interface Place extends StoredContent {
  readonly sizeBytes: number;
  readonly blockBytes: number;
}

/**
 * Content as files `<directory>/<xx>/<hex id>-<run>`, each block with its checksum. A file appears under its name only
 * when it is whole and durable; what is under way lies in `<directory>/tmp` and is dropped at the next start. After a
 * failed sync the store refuses to write: what the disk holds is then unknown.
 */
export class FileDataStore implements DataStore {
  readonly #directory: string;
  readonly #run: number;
  readonly #blockBytes: number;
  #failure: Error | undefined;
  #closed = false;

  private constructor(directory: string, options: { readonly run: number; readonly blockBytes: number }) {
    this.#directory = directory;
    this.#run = options.run;
    this.#blockBytes = options.blockBytes;
  }

  /** The caller makes sure that no other process has the directory open. */
  static async open(
    directory: string,
    options: { readonly blockBytes?: number } = {},
  ): Promise<FileDataStore> {
    const absolute = resolve(directory);
    await makeDirectory(absolute);
    await makeEmptyDirectory(join(absolute, 'tmp'));
    await makeFan(absolute);
    const run = await countStart(absolute);
    return new FileDataStore(absolute, { run, blockBytes: options.blockBytes ?? defaultBlockBytes });
  }

  async write(
    id: ContentId,
    body: AsyncIterable<Uint8Array>,
    options: WriteContentOptions,
  ): Promise<WrittenContent> {
    this.#assertUsable();
    if (id.length !== contentIdBytes) throw new RangeError(`a content id has 32 bytes, not ${id.length}`);
    options.signal?.throwIfAborted();
    const temporary = join(this.#directory, 'tmp', hexOf(id));
    try {
      const place = await this.#writeFile(temporary, body, { id, ...options });
      await this.#publish(temporary, place);
      return { locator: encodePlace(place), sizeBytes: place.sizeBytes, conditions: [], operations: [] };
    } catch (error) {
      await removeIfThere(temporary);
      throw hasCode(error, 'ENOSPC', 'EDQUOT')
        ? new UnavailableError('the disk is full', { cause: error })
        : error;
    }
  }

  async read(locator: Locator, options: ReadContentOptions = {}): Promise<AsyncIterable<Uint8Array>> {
    if (this.#closed) throw new UnavailableError('the data store is closed');
    options.signal?.throwIfAborted();
    const place = decodePlace(locator);
    const range = options.range ?? { offset: 0, lengthBytes: place.sizeBytes };
    if (range.offset < 0 || range.lengthBytes < 0 || range.offset + range.lengthBytes > place.sizeBytes) {
      throw new RangeError(
        `range ${range.offset}+${range.lengthBytes} is not within ${place.sizeBytes} bytes of content`,
      );
    }
    const file = await this.#openForReading(place);
    const blocks = readBlocks(file, place, {
      ...range,
      contentBytes: place.sizeBytes,
      signal: options.signal,
    });
    return new OwnedStream(blocks, () => file.close());
  }

  async remove(locator: Locator): Promise<void> {
    await removeIfThere(this.#pathOf(decodePlace(locator)));
  }

  /** Content that was published before this start, directory by directory. */
  async *earlierContents(): AsyncIterable<StoredContent> {
    for (const fan of fanDirectories) {
      for (const name of await readdir(join(this.#directory, fan))) {
        const stored = parseName(name);
        if (stored !== undefined && stored.run < this.#run) yield stored;
      }
    }
  }

  /** Removes content that no locator names. */
  async removeStored(stored: StoredContent): Promise<void> {
    await removeIfThere(this.#pathOf(stored));
  }

  async close(): Promise<void> {
    this.#closed = true;
  }

  async #writeFile(
    path: string,
    body: AsyncIterable<Uint8Array>,
    options: WriteContentOptions & { readonly id: ContentId },
  ): Promise<Place> {
    const shape = { contentId: options.id, blockBytes: this.#blockBytes };
    const file = await open(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600);
    try {
      const sizeBytes = await writeBlocks(file, body, { ...options, ...shape });
      await this.#sync(() => file.datasync());
      return { ...shape, run: this.#run, sizeBytes };
    } finally {
      await file.close();
    }
  }

  async #publish(temporary: string, place: Place): Promise<void> {
    const path = this.#pathOf(place);
    const directory = dirname(path);
    await this.#sync(async () => {
      await rename(temporary, path);
      await syncDirectory(directory);
    });
  }

  /** A sync that failed once may succeed the next time without having written anything: never again, then. */
  async #sync(write: () => Promise<void>): Promise<void> {
    try {
      await write();
    } catch (error) {
      if (!hasCode(error, 'ENOSPC', 'EDQUOT'))
        this.#failure = error instanceof Error ? error : new Error(String(error));
      throw error;
    }
  }

  async #openForReading(place: Place): Promise<FileHandle> {
    try {
      return await open(this.#pathOf(place), 'r');
    } catch (error) {
      if (!hasCode(error, 'ENOENT', 'ENOTDIR')) throw error;
      throw new ContentMissingError(`no file holds content ${hexOf(place.contentId)}`, { cause: error });
    }
  }

  #assertUsable(): void {
    if (this.#closed) throw new UnavailableError('the data store is closed');
    if (this.#failure !== undefined) {
      throw new UnavailableError('the disk failed; nothing is written until a restart', {
        cause: this.#failure,
      });
    }
  }

  #pathOf(stored: StoredContent): string {
    const name = hexOf(stored.contentId);
    return join(this.#directory, name.slice(0, 2), `${name}-${stored.run}`);
  }
}

/** All of them at once, so that no write waits for a directory to become durable. */
async function makeFan(directory: string): Promise<void> {
  const there = new Set(await readdir(directory));
  const missing = fanDirectories.filter((name) => !there.has(name));
  if (missing.length === 0) return;
  for (const name of missing) await mkdir(join(directory, name));
  await syncDirectory(directory);
}

/** Counts the starts of the store, so that what an earlier one left is told from what is being written. */
async function countStart(directory: string): Promise<number> {
  const path = join(directory, 'run');
  let run = 1;
  try {
    run = Number.parseInt(await readFile(path, 'utf8'), 10) + 1;
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error;
  }
  if (!Number.isSafeInteger(run) || run < 1) throw new Error(`${path} doesn't hold a number`);
  await replaceFile(path, { temporary: join(directory, 'tmp', 'run'), content: `${run}\n` });
  return run;
}

async function removeIfThere(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (error) {
    if (!hasCode(error, 'ENOENT', 'ENOTDIR')) throw error;
  }
}

function encodePlace(place: Place): Locator {
  return encodeRecord(LOCATOR_VERSION, { ...place });
}

function decodePlace(locator: Locator): Place {
  const fields = decodeRecord(locator, { kind: 'file locator', newest: LOCATOR_VERSION });
  return {
    contentId: fields.bytes('contentId'),
    run: fields.integer('run'),
    sizeBytes: fields.integer('sizeBytes'),
    blockBytes: fields.integer('blockBytes'),
  };
}

function hexOf(contentId: Uint8Array): string {
  return Buffer.from(contentId).toString('hex');
}

function parseName(name: string): StoredContent | undefined {
  const [, id, run] = /^([0-9a-f]{64})-(\d{1,15})$/.exec(name) ?? [];
  if (id === undefined || run === undefined) return undefined;
  return { contentId: new Uint8Array(Buffer.from(id, 'hex')), run: Number(run) };
}
