import type { ListObjectsRequest } from '../../backend.ts';
import { checkListingText } from '../../engine/object_keys.ts';
import type { FileFacts, FileStamp } from './file_facts.ts';
import type { HiddenIndex } from './hidden_index.ts';
import { compareKeys } from './key_paths.ts';
import { TreeCursor, type KeyCursor } from './tree_cursor.ts';
import type { TreeFiles } from './tree_files.ts';

/** An object as the tree holds it now. */
export interface TreeObject {
  readonly key: string;
  readonly stamp: FileStamp;
  readonly facts: FileFacts;
}

interface TreePage {
  readonly objects: readonly TreeObject[];
  readonly prefixes: readonly string[];
  readonly next?: string;
}

/** One page of plain and hidden keys together, in order, rolled up at the delimiter. */
export async function listTree(
  tree: { readonly files: TreeFiles; readonly hidden: HiddenIndex },
  request: Pick<ListObjectsRequest, 'prefix' | 'delimiter' | 'startAfter' | 'maxKeys'>,
  find: (key: string) => Promise<TreeObject | undefined>,
): Promise<TreePage> {
  checkListingText('prefix', request.prefix);
  checkListingText('delimiter', request.delimiter);
  checkListingText('marker', request.startAfter);
  if (request.maxKeys < 1) return { objects: [], prefixes: [] };
  const startAfter = request.startAfter === '' ? undefined : request.startAfter;
  const bounds = { prefix: request.prefix, startAfter };
  const cursor = new MergedCursor(new TreeCursor(tree.files, bounds), tree.hidden.cursor(bounds));
  try {
    if (startAfter !== undefined && commonPrefixOf(startAfter, request) === startAfter)
      cursor.skip(startAfter);
    return await readPage(cursor, request, find);
  } finally {
    await cursor.close();
  }
}

async function readPage(
  cursor: KeyCursor,
  request: Pick<ListObjectsRequest, 'prefix' | 'delimiter' | 'maxKeys'>,
  find: (key: string) => Promise<TreeObject | undefined>,
): Promise<TreePage> {
  const objects: TreeObject[] = [];
  const prefixes: string[] = [];
  let last: string | undefined;
  for (;;) {
    const key = await cursor.peek();
    if (key === undefined) return { objects, prefixes };
    if (last !== undefined && objects.length + prefixes.length >= request.maxKeys) {
      return { objects, prefixes, next: last };
    }
    const common = commonPrefixOf(key, request);
    if (common !== undefined) {
      prefixes.push(common);
      last = common;
      cursor.skip(common);
      continue;
    }
    cursor.advance();
    const object = await find(key);
    // Removed since its directory was read.
    if (object === undefined) continue;
    objects.push(object);
    last = key;
  }
}

function commonPrefixOf(
  key: string,
  request: Pick<ListObjectsRequest, 'prefix' | 'delimiter'>,
): string | undefined {
  const { prefix, delimiter } = request;
  if (delimiter === undefined || delimiter === '' || !key.startsWith(prefix)) return undefined;
  const at = key.indexOf(delimiter, prefix.length);
  return at < 0 ? undefined : key.slice(0, at + delimiter.length);
}

/** Two cursors as one; a key that both have comes once. */
class MergedCursor implements KeyCursor {
  readonly #a: KeyCursor;
  readonly #b: KeyCursor;
  #holders: readonly KeyCursor[] = [];

  constructor(a: KeyCursor, b: KeyCursor) {
    this.#a = a;
    this.#b = b;
  }

  async peek(): Promise<string | undefined> {
    const [a, b] = [await this.#a.peek(), await this.#b.peek()];
    if (a === undefined || b === undefined) {
      this.#holders = [a === undefined ? this.#b : this.#a];
      return a ?? b;
    }
    const order = compareKeys(a, b);
    this.#holders = order === 0 ? [this.#a, this.#b] : [order < 0 ? this.#a : this.#b];
    return order <= 0 ? a : b;
  }

  advance(): void {
    for (const cursor of this.#holders) cursor.advance();
  }

  skip(prefix: string): void {
    this.#a.skip(prefix);
    this.#b.skip(prefix);
  }

  async close(): Promise<void> {
    await this.#a.close();
    await this.#b.close();
  }
}
