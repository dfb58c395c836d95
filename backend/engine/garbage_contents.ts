import { ConditionFailedError } from '../../s3db/errors.ts';
import type { Lease } from '../lease.ts';
import { scanPages } from '../state_rows.ts';
import type { EngineContext } from './context.ts';
import { contentIdOfDeleted, deletedPrefix } from './row_keys.ts';
import { decodeContent, decodeDeleted } from './rows.ts';

const rowsPerPage = 200;
const removalsAtOnce = 4;
const rowsPerBatch = 50;
const bytesPerBatch = 1024 * 1024;

export interface SweepOptions {
  readonly signal: AbortSignal;
  readonly lease: Lease;
}

/** One pass over the content that became garbage. What fails is left for the next pass. */
export class ContentSweep {
  readonly #context: EngineContext;
  readonly #options: SweepOptions & { readonly delayMs: number };

  constructor(context: EngineContext, options: SweepOptions & { readonly delayMs: number }) {
    this.#context = context;
    this.#options = options;
  }

  async run(): Promise<void> {
    for await (const page of scanPages(this.#context.state, {
      table: 'objects',
      prefix: deletedPrefix(),
      limit: rowsPerPage,
    })) {
      if (this.#options.signal.aborted || !(await this.#options.lease.keep())) return;
      const due = page.items.filter(({ key, value }) => this.#isDue(key, value)).map(({ key }) => key);
      await this.#freeAll(due);
    }
  }

  #isDue(key: Uint8Array, value: Uint8Array): boolean {
    if (contentIdOfDeleted(key) === undefined) return false;
    return decodeDeleted(value).deletedMs + this.#options.delayMs <= this.#context.clock();
  }

  async #freeAll(deletedKeys: readonly Uint8Array[]): Promise<void> {
    for (let at = 0; at < deletedKeys.length; at += rowsPerBatch) {
      if (this.#options.signal.aborted) return;
      const freed = await this.#removeAll(
        deletedKeys.slice(at, at + rowsPerBatch).flatMap((deletedKey) => {
          const contentId = contentIdOfDeleted(deletedKey);
          return contentId === undefined ? [] : [{ contentId, deletedKey }];
        }),
      );
      await this.#dropRows(freed);
    }
  }

  /** Frees what it can, a few at a time; what can't be freed now stays for the next pass. */
  async #removeAll(garbage: readonly Garbage[]): Promise<FreedContent[]> {
    const waiting = [...garbage];
    const freed: FreedContent[] = [];
    const lanes = Array.from({ length: removalsAtOnce }, async () => {
      for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
        if (this.#options.signal.aborted) return;
        const content = await this.#tryRemove(next);
        if (content !== undefined) freed.push(content);
      }
    });
    await Promise.all(lanes);
    return freed;
  }

  async #tryRemove(garbage: Garbage): Promise<FreedContent | undefined> {
    try {
      return await this.#remove(garbage);
    } catch (error) {
      const id = Buffer.from(garbage.contentId).toString('hex');
      this.#context.logger.warn(
        { err: error, contentId: id },
        'freeing content failed and will be tried again',
      );
      return undefined;
    }
  }

  /**
   * Removes the bytes; the row that locates them and, last of all, the row that says that they are garbage are
   * dropped after that: whatever is interrupted is found again. Parts of an object are freed, rows and all, before
   * its own row, which lists them.
   */
  async #remove(garbage: Garbage): Promise<FreedContent | undefined> {
    const { state, data, contents } = this.#context;
    const bytes = await state.get('objects', garbage.contentId);
    contents.forget(garbage.contentId);
    if (bytes === undefined) return garbage;
    const content = decodeContent(bytes);
    if (content.locator !== undefined) await data.remove(content.locator);
    const parts = content.parts ?? [];
    for (let at = 0; at < parts.length; at += rowsPerBatch) {
      const some = parts.slice(at, at + rowsPerBatch);
      const freed = await this.#removeAll(some.map(({ contentId }) => ({ contentId })));
      if ((await this.#dropRows(freed)) < some.length) return undefined;
    }
    return { ...garbage, bytes };
  }

  /** Answers how many were dropped. */
  async #dropRows(freed: readonly FreedContent[]): Promise<number> {
    let dropped = 0;
    for (const group of bySize(freed)) dropped += await this.#dropGroup(group);
    return dropped;
  }

  async #dropGroup(group: readonly FreedContent[]): Promise<number> {
    try {
      await this.#context.state.batch({
        conditions: group.map(({ contentId, bytes }) =>
          bytes === undefined
            ? { table: 'objects', key: contentId, exists: false }
            : { table: 'objects', key: contentId, equals: bytes },
        ),
        operations: group.flatMap(({ contentId, deletedKey }) => [
          { type: 'delete', table: 'objects', key: contentId },
          ...(deletedKey === undefined
            ? []
            : [{ type: 'delete' as const, table: 'objects', key: deletedKey }]),
        ]),
      });
      return group.length;
    } catch (error) {
      if (!(error instanceof ConditionFailedError)) throw error;
      // One of them was moved meanwhile, and its new place is freed on the next pass. The others go one by one.
      if (group.length === 1) return 0;
      let dropped = 0;
      for (const content of group) dropped += await this.#dropGroup([content]);
      return dropped;
    }
  }
}

/** A row that lists 10,000 parts is big, and a batch takes 8 MiB: rows of about a mebibyte go together. */
function* bySize(freed: readonly FreedContent[]): Generator<FreedContent[]> {
  let group: FreedContent[] = [];
  let sizeBytes = 0;
  for (const content of freed) {
    group.push(content);
    sizeBytes += content.bytes?.length ?? 0;
    if (sizeBytes < bytesPerBatch) continue;
    yield group;
    group = [];
    sizeBytes = 0;
  }
  if (group.length > 0) yield group;
}

interface Garbage {
  readonly contentId: Uint8Array;
  /** Absent for a part, which is garbage because its object is. */
  readonly deletedKey?: Uint8Array;
}

interface FreedContent extends Garbage {
  /** The content row as it was read. */
  readonly bytes?: Uint8Array;
}
