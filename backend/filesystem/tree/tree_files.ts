import type { FileHandle } from 'node:fs/promises';
import { mtimeMsOf, stampOf, type FileStamp } from './file_facts.ts';
import type { HeldDirectory } from './held_directory.ts';
import { hiddenComponents, OWN_DIRECTORY, plainComponents } from './key_paths.ts';
import { hasCode } from '../../../s3db/durable_files.ts';

const maxPlaceAttempts = 8;

/** Where a key's file was put. */
type Placement = 'plain' | 'hidden';

/**
 * Files of a served directory by key. A key is a plain file where it can be one, and else a file below `.s3d/keys`;
 * where both are there, the plain one counts.
 */
export class TreeFiles {
  readonly #root: HeldDirectory;

  constructor(root: HeldDirectory) {
    this.#root = root;
  }

  /** The key's file, open for reading. */
  async open(key: string): Promise<{ readonly file: FileHandle; readonly placement: Placement } | undefined> {
    const plain = plainComponents(key);
    const file = plain === undefined ? undefined : await this.#openAt(plain);
    if (file !== undefined) return { file, placement: 'plain' };
    const hidden = await this.#openAt(hiddenPath(key));
    return hidden === undefined ? undefined : { file: hidden, placement: 'hidden' };
  }

  /**
   * Moves a finished file from `.s3d/tmp` to its key, over what was there, durably. Where directories, files, links
   * or mounts are in its way it goes below `.s3d/keys`.
   */
  async place(temporary: string, key: string): Promise<Placement> {
    const plain = plainComponents(key);
    if (plain !== undefined && (await this.#placePlain(temporary, plain))) return 'plain';
    await this.#placeAt(temporary, hiddenPath(key));
    return 'hidden';
  }

  /** Removes both of the key's possible files, durably, and the directories that are empty then. */
  async remove(key: string): Promise<void> {
    const plain = plainComponents(key);
    if (plain !== undefined) await this.#removeAt(plain, 0);
    await this.removeHidden(key);
  }

  async removeHidden(key: string): Promise<void> {
    await this.#removeAt(hiddenPath(key), 2);
  }

  /** `.s3d/tmp`, made if need be. The caller closes it. */
  async temporaryDirectory(): Promise<HeldDirectory> {
    return this.#enterOwn('tmp');
  }

  /** What an earlier process was writing. */
  async dropTemporary(): Promise<void> {
    const directory = await this.#walk([OWN_DIRECTORY, 'tmp'], 'enter');
    if (directory === undefined) return;
    try {
      for (const { name, kind } of await directory.entries()) {
        if (kind === 'file') await directory.unlink(name);
      }
    } finally {
      await directory.close();
    }
  }

  /** The stamp of a staged file, its time made later than that of the file which it replaces. */
  async stampStaged(name: string, replaced: FileStamp | undefined): Promise<FileStamp> {
    const directory = await this.temporaryDirectory();
    try {
      const file = await directory.openFile(name);
      if (file === undefined) throw new Error(`the staged file ${name} is gone`);
      try {
        const stamp = await stampOf(file);
        if (replaced === undefined || mtimeMsOf(stamp) > mtimeMsOf(replaced)) return stamp;
        // Half a millisecond more, since seconds are a floating-point number here.
        const laterMs = mtimeMsOf(replaced) + 1.5;
        await file.utimes(laterMs / 1000, laterMs / 1000);
        await file.sync();
        return await stampOf(file);
      } finally {
        await file.close();
      }
    } finally {
      await directory.close();
    }
  }

  /** `.s3d/keys` if it is there. The caller closes it. */
  async hiddenDirectory(): Promise<HeldDirectory | undefined> {
    return this.#walk([OWN_DIRECTORY, 'keys'], 'enter');
  }

  /** What is in a directory of the tree; nothing where there is no such directory. */
  async entriesOf(components: readonly string[]): Promise<Awaited<ReturnType<HeldDirectory['entries']>>> {
    const directory = await this.#walk(components, 'enter');
    if (directory === undefined) return [];
    try {
      return await directory.entries();
    } finally {
      await this.#release(directory);
    }
  }

  async close(): Promise<void> {
    await this.#root.close();
  }

  async #openAt(components: readonly string[]): Promise<FileHandle | undefined> {
    const directory = await this.#walk(components.slice(0, -1), 'enter');
    if (directory === undefined) return undefined;
    try {
      return await directory.openFile(components.at(-1) ?? '');
    } finally {
      await this.#release(directory);
    }
  }

  /** False: something is in the way. */
  async #placePlain(temporary: string, components: readonly string[]): Promise<boolean> {
    const name = components.at(-1) ?? '';
    for (let attempt = 0; attempt < maxPlaceAttempts; attempt++) {
      const directory = await this.#walk(components.slice(0, -1), 'enterOrMake');
      if (directory === undefined) return false;
      try {
        const kind = await directory.kindOf(name);
        if (kind === 'directory' || kind === 'other') return false;
        await this.#move(temporary, { directory, name });
        return true;
      } catch (error) {
        if (hasCode(error, 'EXDEV', 'EISDIR', 'ENAMETOOLONG', 'EILSEQ')) return false;
        // A delete beside this one took the directory away as it was empty.
        if (!hasCode(error, 'ENOENT') || attempt + 1 >= maxPlaceAttempts) throw error;
      } finally {
        await this.#release(directory);
      }
    }
    return false;
  }

  async #placeAt(temporary: string, components: readonly string[]): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      const directory = await this.#walk(components.slice(0, -1), 'enterOrMake');
      if (directory === undefined) throw new Error(`${components.join('/')} is not made of directories`);
      try {
        await this.#move(temporary, { directory, name: components.at(-1) ?? '' });
        return;
      } catch (error) {
        if (!hasCode(error, 'ENOENT') || attempt + 1 >= maxPlaceAttempts) throw error;
      } finally {
        await this.#release(directory);
      }
    }
  }

  async #move(
    temporary: string,
    target: { readonly directory: HeldDirectory; readonly name: string },
  ): Promise<void> {
    const from = await this.temporaryDirectory();
    try {
      await from.moveTo(temporary, target);
      await target.directory.sync();
    } finally {
      await from.close();
    }
  }

  async #removeAt(components: readonly string[], keepDepth: number): Promise<void> {
    const directories: HeldDirectory[] = [this.#root];
    try {
      for (const name of components.slice(0, -1)) {
        const next = await directories.at(-1)?.enter(name);
        if (next === undefined) return;
        directories.push(next);
      }
      const last = directories.at(-1) ?? this.#root;
      const name = components.at(-1) ?? '';
      if ((await last.kindOf(name)) !== 'file') return;
      await last.unlink(name);
      await last.sync();
      for (let depth = directories.length - 1; depth > keepDepth; depth--) {
        const parent = directories[depth - 1];
        if (parent === undefined || !(await parent.removeEmpty(components[depth - 1] ?? ''))) break;
        await parent.sync();
      }
    } finally {
      for (const directory of directories) await this.#release(directory);
    }
  }

  async #enterOwn(name: string): Promise<HeldDirectory> {
    const directory = await this.#walk([OWN_DIRECTORY, name], 'enterOrMake');
    if (directory === undefined) throw new Error(`${OWN_DIRECTORY}/${name} is not a directory`);
    return directory;
  }

  async #walk(
    components: readonly string[],
    step: 'enter' | 'enterOrMake',
  ): Promise<HeldDirectory | undefined> {
    let directory = this.#root;
    for (const name of components) {
      let next: HeldDirectory | undefined;
      try {
        next = await directory[step](name);
      } finally {
        await this.#release(directory);
      }
      if (next === undefined) return undefined;
      directory = next;
    }
    return directory;
  }

  async #release(directory: HeldDirectory): Promise<void> {
    if (directory !== this.#root) await directory.close();
  }
}

function hiddenPath(key: string): readonly string[] {
  return [OWN_DIRECTORY, 'keys', ...hiddenComponents(key)];
}
