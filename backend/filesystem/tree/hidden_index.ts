import type { GlobalState } from '../../global_state.ts';
import type { Operation } from '../../../s3db/database.ts';
import type { HeldDirectory } from './held_directory.ts';
import { keyOfHidden } from './key_paths.ts';
import type { KeyCursor } from './tree_cursor.ts';

const rowsPerBatch = 1000;
const firstPage = 16;
const largestPage = 1000;
/** Greater than any byte of UTF-8. */
const AFTER_ALL = Buffer.of(0xff);

/** The keys below `.s3d/keys` in order. The files are the truth: the index is made anew at each start. */
export class HiddenIndex {
  readonly #state: GlobalState;
  readonly #base: Buffer;

  constructor(state: GlobalState, bucket: string) {
    this.#state = state;
    this.#base = Buffer.from(`tree:hidden:${bucket}\0`);
  }

  async rebuild(keys: HeldDirectory | undefined): Promise<void> {
    const operations: Operation[] = [];
    for await (const key of this.#state.listKeys('state', this.#base)) {
      operations.push({ type: 'delete', table: 'state', key });
      await this.#flush(operations, rowsPerBatch);
    }
    await this.#flush(operations, 1);
    if (keys === undefined) return;
    for await (const key of hiddenKeys(keys, [])) {
      operations.push({ type: 'put', table: 'state', key: this.#rowKey(key), value: new Uint8Array() });
      await this.#flush(operations, rowsPerBatch);
    }
    await this.#flush(operations, 1);
  }

  async add(key: string): Promise<void> {
    await this.#state.set('state', this.#rowKey(key), new Uint8Array());
  }

  async remove(key: string): Promise<void> {
    if (await this.#state.exists('state', this.#rowKey(key)))
      await this.#state.delete('state', this.#rowKey(key));
  }

  cursor(bounds: { readonly prefix: string; readonly startAfter: string | undefined }): KeyCursor {
    return new HiddenCursor(this.#state, this.#base, bounds);
  }

  #rowKey(key: string): Uint8Array {
    return Buffer.concat([this.#base, Buffer.from(key, 'utf8')]);
  }

  async #flush(operations: Operation[], atLeast: number): Promise<void> {
    if (operations.length < atLeast) return;
    await this.#state.batch({ conditions: [], operations: operations.splice(0) });
  }
}

async function* hiddenKeys(directory: HeldDirectory, above: readonly string[]): AsyncGenerator<string> {
  for (const { name, kind } of await directory.entries()) {
    if (kind === 'directory') {
      const below = await directory.enter(name);
      if (below === undefined) continue;
      try {
        yield* hiddenKeys(below, [...above, name]);
      } finally {
        await below.close();
      }
    } else if (kind === 'file') {
      const key = keyOfHidden([...above, name]);
      if (key !== undefined) yield key;
    }
  }
}

class HiddenCursor implements KeyCursor {
  readonly #state: GlobalState;
  readonly #base: Buffer;
  readonly #prefix: Uint8Array;
  #startAfter: Uint8Array | undefined;
  #page: string[] = [];
  #pageSize = firstPage;
  #ended = false;

  constructor(
    state: GlobalState,
    base: Buffer,
    bounds: { readonly prefix: string; readonly startAfter: string | undefined },
  ) {
    this.#state = state;
    this.#base = base;
    this.#prefix = Buffer.concat([base, Buffer.from(bounds.prefix, 'utf8')]);
    if (bounds.startAfter !== undefined)
      this.#startAfter = Buffer.concat([base, Buffer.from(bounds.startAfter, 'utf8')]);
  }

  async peek(): Promise<string | undefined> {
    if (this.#page.length === 0 && !this.#ended) await this.#read();
    return this.#page[0];
  }

  advance(): void {
    this.#page.shift();
  }

  skip(prefix: string): void {
    const kept = this.#page.findIndex((key) => !key.startsWith(prefix));
    if (kept >= 0) {
      this.#page.splice(0, kept);
      return;
    }
    this.#page = [];
    const after = Buffer.concat([this.#base, Buffer.from(prefix, 'utf8'), AFTER_ALL]);
    if (this.#startAfter === undefined || Buffer.compare(after, this.#startAfter) > 0)
      this.#startAfter = after;
  }

  async close(): Promise<void> {
    this.#ended = true;
    this.#page = [];
  }

  async #read(): Promise<void> {
    const page = await this.#state.scan({
      table: 'state',
      prefix: this.#prefix,
      limit: this.#pageSize,
      ...(this.#startAfter === undefined ? {} : { startAfter: this.#startAfter }),
    });
    this.#pageSize = Math.min(this.#pageSize * 4, largestPage);
    this.#page = page.items.map(({ key }) => Buffer.from(key.subarray(this.#base.length)).toString('utf8'));
    if (page.next === undefined) this.#ended = true;
    else this.#startAfter = page.next;
  }
}
