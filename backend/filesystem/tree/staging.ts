import type { FileHandle } from 'node:fs/promises';
import type { ContentId, DataStore, WriteContentOptions, WrittenContent } from '../../data_store.ts';
import type { TreeFiles } from './tree_files.ts';

/**
 * Takes content in as plain files in `.s3d/tmp`, durable but not yet in their places. The locator is the file's name.
 * Only what taking in needs of a DataStore.
 */
export class Staging implements Pick<DataStore, 'write' | 'remove'> {
  readonly #files: TreeFiles;

  constructor(files: TreeFiles) {
    this.#files = files;
  }

  async write(
    id: ContentId,
    body: AsyncIterable<Uint8Array>,
    options: WriteContentOptions,
  ): Promise<WrittenContent> {
    const name = Buffer.from(id).toString('hex');
    const directory = await this.#files.temporaryDirectory();
    try {
      const file = await directory.createFile(name);
      try {
        const sizeBytes = await writeAll(file, body, options.signal);
        await file.datasync();
        return { locator: Buffer.from(name), sizeBytes, conditions: [], operations: [] };
      } finally {
        await file.close();
      }
    } catch (error) {
      await directory.unlink(name);
      throw error;
    } finally {
      await directory.close();
    }
  }

  async remove(locator: Uint8Array): Promise<void> {
    const directory = await this.#files.temporaryDirectory();
    try {
      await directory.unlink(stagedName(locator));
    } finally {
      await directory.close();
    }
  }
}

export function stagedName(locator: Uint8Array): string {
  return Buffer.from(locator).toString('utf8');
}

async function writeAll(
  file: FileHandle,
  body: AsyncIterable<Uint8Array>,
  signal: AbortSignal | undefined,
): Promise<number> {
  let at = 0;
  for await (const piece of body) {
    signal?.throwIfAborted();
    for (let done = 0; done < piece.length;) {
      const { bytesWritten } = await file.write(piece, done, piece.length - done, at + done);
      done += bytesWritten;
    }
    at += piece.length;
  }
  signal?.throwIfAborted();
  return at;
}
