import { compareKeys, OWN_DIRECTORY } from './key_paths.ts';
import type { TreeFiles } from './tree_files.ts';
import { maxKeyBytes } from '../../engine/object_keys.ts';

/** Gives keys one after another, in order, and can pass over all that start alike. */
export interface KeyCursor {
  /** The key that comes next, undefined at the end. Stays the same until `advance` or `skip`. */
  peek(): Promise<string | undefined>;
  advance(): void;
  /** Passes over every key that starts so. */
  skip(prefix: string): void;
  close(): Promise<void>;
}

interface Level {
  readonly entries: readonly { readonly key: string; readonly isDirectory: boolean }[];
  next: number;
}

/**
 * The plain files of a tree in the order of their keys: a directory sorts by its name with the slash, so going down
 * into each in turn gives all keys in order. A directory is read whole, once, when the walk comes to it; those that
 * can't hold a wanted key are passed over unread. No directory stays open between reads, however deep the tree.
 */
export class TreeCursor implements KeyCursor {
  readonly #files: TreeFiles;
  readonly #prefix: string;
  readonly #startAfter: string | undefined;
  readonly #levels: Level[] = [];
  #skip: string | undefined;
  #started = false;
  #peeked: string | undefined;

  constructor(
    files: TreeFiles,
    bounds: { readonly prefix: string; readonly startAfter: string | undefined },
  ) {
    this.#files = files;
    this.#prefix = bounds.prefix;
    this.#startAfter = bounds.startAfter;
  }

  async peek(): Promise<string | undefined> {
    if (this.#peeked === undefined) this.#peeked = await this.#find();
    return this.#peeked;
  }

  advance(): void {
    this.#peeked = undefined;
  }

  skip(prefix: string): void {
    this.#skip = prefix;
    if (this.#peeked?.startsWith(prefix) === true) this.#peeked = undefined;
  }

  async close(): Promise<void> {
    this.#levels.length = 0;
  }

  async #find(): Promise<string | undefined> {
    if (!this.#started) {
      this.#started = true;
      await this.#descend('');
    }
    for (;;) {
      const level = this.#levels.at(-1);
      if (level === undefined) return undefined;
      const entry = level.entries[level.next++];
      if (entry === undefined) {
        this.#levels.pop();
      } else if (!entry.isDirectory) {
        if (this.#wantsKey(entry.key)) return entry.key;
      } else if (this.#wantsBelow(entry.key)) {
        await this.#descend(entry.key);
      }
    }
  }

  /** @param path empty, or ends with a slash. */
  async #descend(path: string): Promise<void> {
    const found = await this.#files.entriesOf(path.split('/').slice(0, -1));
    const entries = found
      .filter(({ name, kind }) => kind !== 'other' && !(path === '' && name === OWN_DIRECTORY))
      .map(({ name, kind }) => ({
        isDirectory: kind === 'directory',
        key: kind === 'directory' ? `${path}${name}/` : `${path}${name}`,
      }))
      .filter(({ key, isDirectory }) => (isDirectory ? this.#wantsBelow(key) : this.#wantsKey(key)))
      .sort((a, b) => compareKeys(a.key, b.key));
    this.#levels.push({ entries, next: 0 });
  }

  #wantsKey(key: string): boolean {
    if (!key.startsWith(this.#prefix) || Buffer.byteLength(key, 'utf8') > maxKeyBytes) return false;
    if (this.#skip !== undefined && key.startsWith(this.#skip)) return false;
    return this.#startAfter === undefined || compareKeys(key, this.#startAfter) > 0;
  }

  #wantsBelow(path: string): boolean {
    if (!path.startsWith(this.#prefix) && !this.#prefix.startsWith(path)) return false;
    if (this.#skip !== undefined && path.startsWith(this.#skip)) return false;
    const after = this.#startAfter;
    return after === undefined || after.startsWith(path) || compareKeys(path, after) > 0;
  }
}
