import { ConditionFailedError } from '../../s3db/errors.ts';
import type { Operation } from '../../s3db/database.ts';
import { scanPages } from '../state_rows.ts';
import type { EngineContext } from './context.ts';
import { makeGarbage } from './current_version.ts';
import type { SweepOptions } from './garbage_contents.ts';
import { scanParts } from './part_rows.ts';
import { STATE_KEYS, uploadIdOfState } from './row_keys.ts';
import { decodeCleanup, decodeCompleted, decodeContent } from './rows.ts';

const rowsPerPage = 100;
const partsPerBatch = 500;
/** How long a repeated Complete is answered as the first one was. */
const completedMemoryMs = 60 * 60 * 1000;

/** Removes the part rows of ended uploads, and forgets answers of Complete that are old. */
export class CleanupPass {
  readonly #context: EngineContext;
  readonly #options: SweepOptions;

  constructor(context: EngineContext, options: SweepOptions) {
    this.#context = context;
    this.#options = options;
  }

  async run(): Promise<void> {
    await this.#eachRow(STATE_KEYS.cleanupPrefix(), (key, value) => this.#cleanUp(key, value));
    await this.#eachRow(STATE_KEYS.completedPrefix(), (key, value) => this.#forgetCompleted(key, value));
  }

  async #eachRow(
    prefix: Uint8Array,
    visit: (key: Uint8Array, value: Uint8Array) => Promise<void>,
  ): Promise<void> {
    for await (const page of scanPages(this.#context.state, { table: 'state', prefix, limit: rowsPerPage })) {
      for (const { key, value } of page.items) {
        if (this.#options.signal.aborted || !(await this.#options.lease.keep())) return;
        await visit(key, value);
      }
    }
  }

  /**
   * Parts that the object took over lose only their rows; of the others the content becomes garbage in the same
   * batch. The object's content row, which tells them apart, was written together with this row and goes only after
   * the parts that it lists: where it is gone, what is left is garbage or freed already.
   */
  async #cleanUp(key: Uint8Array, value: Uint8Array): Promise<void> {
    const uploadId = uploadIdOfState(key);
    const taken = await this.#takenOver(decodeCleanup(value).contentId);
    for (let more = true; more;) {
      if (this.#options.signal.aborted) return;
      const page = await scanParts(this.#context, uploadId, { after: 0, limit: partsPerBatch });
      more = page.more;
      const operations = page.parts.flatMap((part): Operation[] => [
        { type: 'delete', table: 'parts', key: part.key },
        ...(taken.has(nameOf(part.row.contentId)) ? [] : [makeGarbage(this.#context, part.row.contentId)]),
      ]);
      if (!(await this.#apply(key, value, operations))) return;
    }
    await this.#apply(key, value, [{ type: 'delete', table: 'state', key }]);
  }

  /** False: another gateway has done it all. */
  async #apply(key: Uint8Array, value: Uint8Array, operations: readonly Operation[]): Promise<boolean> {
    if (operations.length === 0) return true;
    try {
      await this.#context.state.batch({ conditions: [{ table: 'state', key, equals: value }], operations });
      return true;
    } catch (error) {
      if (error instanceof ConditionFailedError) return false;
      throw error;
    }
  }

  async #takenOver(contentId: Uint8Array | undefined): Promise<ReadonlySet<string>> {
    if (contentId === undefined) return new Set();
    const bytes = await this.#context.state.get('objects', contentId);
    if (bytes === undefined) return new Set();
    return new Set((decodeContent(bytes).parts ?? []).map((part) => nameOf(part.contentId)));
  }

  async #forgetCompleted(key: Uint8Array, value: Uint8Array): Promise<void> {
    if (decodeCompleted(value).lastModifiedMs + completedMemoryMs > this.#context.clock()) return;
    await this.#context.state.delete('state', key);
  }
}

function nameOf(contentId: Uint8Array): string {
  return Buffer.from(contentId).toString('hex');
}
