import { setImmediate as breathe } from 'node:timers/promises';
import { BackendError } from '../errors.ts';
import type { Authorize } from '../backend.ts';
import { abortsUpload, actionOf, prefixesOf, type Position } from '../lifecycle/due.ts';
import { decodeLifecycle, type LifecycleRule } from '../lifecycle/rules.ts';
import { abortMultipartUpload } from './abort_upload.ts';
import type { LoadedBucket } from './bucket_settings.ts';
import type { EngineContext } from './context.ts';
import { uploadIdText } from './ids.ts';
import { carryOut, type DueVersion } from './lifecycle_actions.ts';
import { keyOfOrdered, orderedPrefix, uploadIdOfKey, versionsOfKey } from './row_keys.ts';
import { decodeUpload, decodeVersion, type VersionRow } from './rows.ts';
import type { ReadRow } from './targets.ts';

const actionsAtOnce = 8;

/** How far a pass over one bucket got. Versions are seen before uploads. */
export interface PassPlace {
  readonly table: 'versions' | 'multipart';
  /** A row key: everything up to it was seen. */
  readonly after?: Uint8Array;
}

export interface PassOptions {
  readonly bucket: LoadedBucket;
  readonly debugDayMs: number | undefined;
  readonly signal: AbortSignal;
  readonly rowsPerPage: number;
  readonly from: PassPlace;
  /** Called between pages: keeps the lease and remembers the place. False ends the pass. */
  readonly reached: (place: PassPlace) => Promise<boolean>;
}

/** `undone`: something failed, or changed under the pass, and has to be looked at again. */
export type PassOutcome = 'done' | 'undone' | 'stopped';

/** The rules of a bucket changed while a pass carried them out. */
class RulesChangedError extends Error {}

/**
 * One pass of a bucket's rules over its versions and uploads, page by page. It works half of the time at most, and
 * only where rules with their prefixes may apply.
 */
export class LifecyclePass {
  readonly #context: EngineContext;
  readonly #options: PassOptions;
  readonly #rules: readonly LifecycleRule[];
  readonly #authorize: Authorize;
  #outcome: PassOutcome = 'done';

  constructor(context: EngineContext, options: PassOptions) {
    this.#context = context;
    this.#options = options;
    const text = options.bucket.settings.get('lifecycle') ?? '[]';
    this.#rules = decodeLifecycle(text);
    this.#authorize = (bucket) => {
      if (bucket.settings.get('lifecycle') !== text) throw new RulesChangedError();
    };
  }

  async run(): Promise<PassOutcome> {
    const { from } = this.#options;
    try {
      if (from.table === 'versions') await this.#eachPage('versions', from.after);
      await this.#eachPage('multipart', from.table === 'multipart' ? from.after : undefined);
    } catch (error) {
      if (!(error instanceof RulesChangedError)) throw error;
      return 'undone';
    }
    return this.#outcome;
  }

  async #eachPage(table: PassPlace['table'], after: Uint8Array | undefined): Promise<void> {
    const { bucket, reached } = this.#options;
    for (const prefix of prefixesOf(this.#rules)) {
      const range = orderedPrefix(bucket.name, prefix);
      let startAfter = after;
      if (after !== undefined && !startsWith(after, range)) {
        if (Buffer.compare(after, range) > 0) continue;
        startAfter = undefined;
      }
      do {
        if (this.#isStopped()) {
          this.#outcome = 'stopped';
          return;
        }
        const beganMs = performance.now();
        const page = await this.#context.state.scan({
          table,
          prefix: range,
          limit: this.#options.rowsPerPage,
          ...(startAfter === undefined ? {} : { startAfter }),
        });
        startAfter = table === 'versions' ? await this.#versions(page) : await this.#uploads(page);
        // What was due of this page may not all have been done.
        if (this.#isStopped()) {
          this.#outcome = 'stopped';
          return;
        }
        const place = startAfter ?? page.items.at(-1)?.key;
        if (place !== undefined && !(await reached({ table, after: place }))) this.#outcome = 'stopped';
        await this.#rest(performance.now() - beganMs);
      } while (startAfter !== undefined);
    }
  }

  #isStopped(): boolean {
    return this.#options.signal.aborted || this.#outcome === 'stopped';
  }

  /**
   * Evaluates the page's keys and does what is due. A key that may go on behind the page is read to its end, so that
   * the next page begins with a key.
   * @returns where the next page begins; undefined after the last.
   */
  async #versions(page: Page): Promise<Uint8Array | undefined> {
    const { bucket } = this.#options;
    const stacks = new Map<string, readonly DueVersion[]>();
    let evaluation: KeyEvaluation | undefined;
    const take = ({ key: rowKey, value }: Page['items'][number]): void => {
      const key = keyOfOrdered(bucket.name, rowKey);
      if (evaluation?.key !== key) {
        this.#finish(evaluation, stacks);
        evaluation = new KeyEvaluation(key, (version, position) => this.#dueOf(key, version, position));
      }
      evaluation.take({ key: rowKey, bytes: value, row: decodeVersion(value) });
    };
    for (const item of page.items) take(item);
    let next = page.next;
    while (next !== undefined && evaluation !== undefined) {
      const rest = await this.#context.state.scan({
        table: 'versions',
        prefix: versionsOfKey(bucket.name, evaluation.key),
        startAfter: next,
        limit: this.#options.rowsPerPage,
      });
      for (const item of rest.items) take(item);
      next = rest.items.at(-1)?.key ?? next;
      if (rest.next === undefined) break;
      // A key of very many versions: what is due of it so far is done before more is held.
      await this.#doAll(evaluation.takeDue());
    }
    this.#finish(evaluation, stacks);
    await this.#lanes([...stacks.values()]);
    return next;
  }

  #finish(evaluation: KeyEvaluation | undefined, stacks: Map<string, readonly DueVersion[]>): void {
    if (evaluation === undefined) return;
    evaluation.end();
    const due = evaluation.takeDue();
    if (due.length > 0) stacks.set(evaluation.key, due);
  }

  #dueOf(key: string, version: ReadRow<VersionRow>, position: Position): DueVersion | undefined {
    const { bucket, debugDayMs } = this.#options;
    const { row } = version;
    if (Buffer.compare(row.bucketId, bucket.id) !== 0) return undefined;
    const { mtimeMs, sizeBytes, tags } = row;
    const action = actionOf(
      this.#rules,
      { key, mtimeMs, sizeBytes, tags, deleteMarker: row.deleteMarker === true, position },
      { nowMs: this.#context.clock(), debugDayMs },
    );
    if (action === undefined) return undefined;
    const { name } = bucket;
    return { bucket: name, key, version, newest: position.newest, action, authorize: this.#authorize };
  }

  async #uploads(page: Page): Promise<Uint8Array | undefined> {
    const { bucket, debugDayMs } = this.#options;
    const now = { nowMs: this.#context.clock(), debugDayMs };
    for (const { key: rowKey, value } of page.items) {
      const key = keyOfOrdered(bucket.name, rowKey);
      const { initiatedMs, bucketId } = decodeUpload(value);
      if (Buffer.compare(bucketId, bucket.id) !== 0) continue;
      if (!abortsUpload(this.#rules, { key, initiatedMs }, now)) continue;
      const uploadId = uploadIdText(uploadIdOfKey(rowKey));
      const request = { bucket: bucket.name, key, uploadId, authorize: this.#authorize };
      await this.#try(key, () => abortMultipartUpload(this.#context, request));
    }
    return page.next;
  }

  /** A few keys at a time; versions of one key one after another. */
  async #lanes(stacks: readonly (readonly DueVersion[])[]): Promise<void> {
    const waiting = stacks.values();
    const lane = async (): Promise<void> => {
      for (const stack of waiting) await this.#doAll(stack);
    };
    await Promise.all(Array.from({ length: Math.min(actionsAtOnce, stacks.length) }, lane));
    if (stacks.length > 0) this.#context.wakeGarbage();
  }

  async #doAll(due: readonly DueVersion[]): Promise<void> {
    for (const one of due) {
      if (this.#options.signal.aborted) return;
      await this.#try(one.key, () => carryOut(this.#context, one));
    }
  }

  /** What fails for one key fails for it alone, and is tried again by another pass. */
  async #try(key: string, work: () => Promise<unknown>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (error instanceof RulesChangedError) throw error;
      if (error instanceof BackendError && error.code === 'NoSuchUpload') return;
      if (error instanceof BackendError && error.code === 'NoSuchBucket') throw new RulesChangedError();
      this.#outcome = 'undone';
      this.#context.logger.warn(
        { err: error, bucket: this.#options.bucket.name, key },
        'a lifecycle rule could not be carried out and will be tried again',
      );
    }
  }

  async #rest(workedMs: number): Promise<void> {
    const { signal } = this.#options;
    if (signal.aborted) return;
    if (workedMs < 1) await breathe();
    else await this.#context.sleep(workedMs, signal).catch(endOfRest(signal));
  }
}

interface Page {
  readonly items: readonly { readonly key: Uint8Array; readonly value: Uint8Array }[];
  readonly next?: Uint8Array;
}

/** The versions of one key as they come, newest first. */
class KeyEvaluation {
  readonly key: string;
  readonly #evaluate: (version: ReadRow<VersionRow>, position: Position) => DueVersion | undefined;
  #due: DueVersion[] = [];
  #newest: ReadRow<VersionRow> | undefined;
  #newerMs = 0;
  #seen = 0;

  constructor(
    key: string,
    evaluate: (version: ReadRow<VersionRow>, position: Position) => DueVersion | undefined,
  ) {
    this.key = key;
    this.#evaluate = evaluate;
  }

  take(version: ReadRow<VersionRow>): void {
    if (this.#seen === 0) {
      // Whether it is alone is known at the next one, or at the end.
      this.#newest = version;
    } else {
      this.#add(version, {
        newest: false,
        noncurrentSinceMs: this.#newerMs,
        newerNoncurrent: this.#seen - 1,
      });
    }
    this.#seen += 1;
    this.#newerMs = version.row.mtimeMs;
  }

  end(): void {
    const newest = this.#newest;
    this.#newest = undefined;
    if (newest !== undefined) this.#add(newest, { newest: true, alone: this.#seen === 1 });
  }

  takeDue(): readonly DueVersion[] {
    const due = this.#due;
    this.#due = [];
    return due;
  }

  #add(version: ReadRow<VersionRow>, position: Position): void {
    const due = this.#evaluate(version, position);
    if (due !== undefined) this.#due.push(due);
  }
}

function startsWith(bytes: Uint8Array, prefix: Uint8Array): boolean {
  return bytes.length >= prefix.length && Buffer.compare(bytes.subarray(0, prefix.length), prefix) === 0;
}

/** A rest that the end of the work cuts short is no failure. */
function endOfRest(signal: AbortSignal): (error: unknown) => void {
  return (error) => {
    if (!signal.aborted) throw error;
  };
}
