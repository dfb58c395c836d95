import { ConditionFailedError } from '../../s3db/errors.ts';
import type { EngineContext } from './context.ts';
import type { GarbageLease } from './garbage_lease.ts';
import { contentIdOfDeleted, deletedPrefix } from './row_keys.ts';
import { decodeContent, decodeDeleted } from './rows.ts';

const rowsPerPage = 200;
const removalsAtOnce = 4;

export interface SweepOptions {
  readonly signal: AbortSignal;
  readonly lease: GarbageLease;
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
    let startAfter: Uint8Array | undefined;
    do {
      if (this.#options.signal.aborted || !(await this.#options.lease.keep())) return;
      const page = await this.#context.state.scan({
        table: 'objects',
        prefix: deletedPrefix(),
        limit: rowsPerPage,
        ...(startAfter === undefined ? {} : { startAfter }),
      });
      const due = page.items.filter(({ key, value }) => this.#isDue(key, value)).map(({ key }) => key);
      await this.#freeAll(due);
      startAfter = page.next;
    } while (startAfter !== undefined);
  }

  #isDue(key: Uint8Array, value: Uint8Array): boolean {
    if (contentIdOfDeleted(key) === undefined) return false;
    return decodeDeleted(value).deletedMs + this.#options.delayMs <= this.#context.clock();
  }

  async #freeAll(deletedKeys: Uint8Array[]): Promise<void> {
    const lanes = Array.from({ length: removalsAtOnce }, async () => {
      for (let key = deletedKeys.pop(); key !== undefined; key = deletedKeys.pop()) {
        if (this.#options.signal.aborted) return;
        await this.#freeOne(key);
      }
    });
    await Promise.all(lanes);
  }

  async #freeOne(deletedKey: Uint8Array): Promise<void> {
    const contentId = contentIdOfDeleted(deletedKey);
    if (contentId === undefined) return;
    try {
      await this.#free(contentId, deletedKey);
    } catch (error) {
      const id = Buffer.from(contentId).toString('hex');
      this.#context.logger.warn(
        { err: error, contentId: id },
        'freeing content failed and will be tried again',
      );
    }
  }

  /**
   * Removes the bytes, then the row that locates them and, last of all, the row that says that they are garbage:
   * whatever is interrupted is found again. Parts of an object are freed before its own row, which lists them.
   */
  async #free(contentId: Uint8Array, deletedKey: Uint8Array | undefined): Promise<void> {
    const { state, data, contents } = this.#context;
    const bytes = await state.get('objects', contentId);
    contents.forget(contentId);
    if (bytes !== undefined) {
      const content = decodeContent(bytes);
      if (content.locator !== undefined) await data.remove(content.locator);
      for (const part of content.parts ?? []) {
        if (this.#options.signal.aborted) return;
        await this.#free(part.contentId, undefined);
      }
    }
    try {
      await state.batch({
        conditions: [
          bytes === undefined
            ? { table: 'objects', key: contentId, exists: false }
            : { table: 'objects', key: contentId, equals: bytes },
        ],
        operations: [
          { type: 'delete', table: 'objects', key: contentId },
          ...(deletedKey === undefined
            ? []
            : [{ type: 'delete' as const, table: 'objects', key: deletedKey }]),
        ],
      });
    } catch (error) {
      // The content was moved meanwhile: its new place is freed on the next pass.
      if (!(error instanceof ConditionFailedError) || deletedKey === undefined) throw error;
    }
  }
}
