import { createHash } from 'node:crypto';
import type { Condition, Operation } from '../../s3db/database.ts';
import { ConditionFailedError } from '../../s3db/errors.ts';
import type { MasterKeys, RegisteredKey } from '../encryption/master_keys.ts';
import type { Lease } from '../lease.ts';
import { WorkLoop } from '../work_loop.ts';
import type { EngineContext } from './context.ts';
import { engineLease } from './engine_lease.ts';
import { useOf } from './protection.ts';
import { decodeRecord, encodeRecord } from './record.ts';
import { ARN_PREFIX, STATE_KEYS } from './row_keys.ts';
import { decodeContent, encodeContent } from './rows.ts';

const rowVersion = 1;
const contentIdBytes = 32;
const rowsPerPage = 500;
const rowsPerBatch = 50;
const rowsPerSecond = 5000;
const attemptsPerRow = 8;
const leaseMs = 30_000;
const intervalMs = 60 * 60_000;
const retryMs = 60_000;

/** How far wrapping anew has come; kept in the state, so that any gateway goes on where one stopped. */
export interface RotationProgress {
  readonly startedMs: number;
  /** Absent while it runs. */
  readonly finishedMs?: number;
  /** Content rows looked at, wrapped anew, and that could not be wrapped anew. */
  readonly scanned: number;
  readonly rewrapped: number;
  readonly failed: number;
}

interface Cursor extends RotationProgress {
  /** Of the rows of the keys that are being retired, as they were marked. */
  readonly marks: Uint8Array;
  /** The last content row that was looked at. */
  readonly after?: Uint8Array;
}

/**
 * Wraps data keys anew that are under a key which isn't used for new content any more, while everything goes on being
 * served, and takes such keys off the register when nothing is under them: only then may they leave the keyring. Works
 * under a lease, by compare-and-set on each row, and goes on where it was interrupted.
 */
export class KeyRotation {
  readonly #context: EngineContext;
  readonly #keys: MasterKeys;
  readonly #lease: Lease;
  readonly #loop: WorkLoop;
  /** One at a time. */
  #current: Promise<boolean> | undefined;

  constructor(context: EngineContext, keys: MasterKeys) {
    this.#context = context;
    this.#keys = keys;
    this.#lease = engineLease(context, { key: STATE_KEYS.rotationLease(), leaseMs });
    this.#loop = new WorkLoop({
      name: 'the rotation of keys',
      turn: async () => ((await this.rotate()) ? intervalMs : retryMs),
      failed: (error) => {
        context.logger.warn({ err: error }, 'rotating keys failed and will be tried again');
        return retryMs;
      },
    });
  }

  start(): void {
    this.#loop.start();
  }

  /** The keyring has changed. */
  wake(): void {
    this.#loop.wake();
  }

  async close(): Promise<void> {
    await this.#loop.close();
    await this.#lease.release();
  }

  /** Of the last rotation, or the one that is under way; undefined before the first. */
  async progress(): Promise<RotationProgress | undefined> {
    const cursor = await this.#readCursor();
    if (cursor === undefined) return undefined;
    const { startedMs, finishedMs, scanned, rewrapped, failed } = cursor;
    return { startedMs, scanned, rewrapped, failed, ...(finishedMs === undefined ? {} : { finishedMs }) };
  }

  /**
   * Wraps everything anew that needs it. @returns whether no obsolete key is left: false where another gateway is at
   * it, still uses such a key, or a wrapped key is damaged.
   */
  rotate(): Promise<boolean> {
    this.#current ??= this.#rotate().finally(() => {
      this.#current = undefined;
    });
    return this.#current;
  }

  async #rotate(): Promise<boolean> {
    await this.#keys.check();
    const obsolete = await this.#keys.obsolete();
    if (obsolete.length === 0) return true;
    if (!(await this.#lease.keep())) return false;
    const begun = await this.#begin(obsolete);
    if (begun === undefined) return false;
    const cursor = await this.#scan(begun.cursor);
    if (cursor === undefined || cursor.failed > 0) return false;
    let removed = 0;
    for (const key of begun.marked) if (await this.#retire(key)) removed++;
    this.#context.logger.info({ scanned: cursor.scanned, rewrapped: cursor.rewrapped }, 'keys were rotated');
    return removed === begun.marked.length;
  }

  async #retire(key: RegisteredKey): Promise<boolean> {
    const removed = await this.#keys.remove(key);
    const fields = { key: key.id, use: key.use };
    if (removed) this.#context.logger.info(fields, 'nothing is under this key any more');
    else
      this.#context.logger.warn(fields, 'another gateway still wraps under this key; its keyring is older');
    return removed;
  }

  /** Goes on with a rotation of the very same keys, or marks them and begins one. */
  async #begin(
    obsolete: readonly RegisteredKey[],
  ): Promise<{ readonly cursor: Cursor; readonly marked: readonly RegisteredKey[] } | undefined> {
    const before = await this.#readCursor();
    if (
      before !== undefined &&
      before.finishedMs === undefined &&
      sameBytes(before.marks, digestOf(obsolete))
    ) {
      return { cursor: before, marked: obsolete };
    }
    const marked: RegisteredKey[] = [];
    for (const key of obsolete) {
      const mark = await this.#keys.mark(key);
      if (mark === undefined) return undefined;
      marked.push(mark);
    }
    const startedMs = Math.floor(this.#context.clock());
    const cursor = { startedMs, scanned: 0, rewrapped: 0, failed: 0, marks: digestOf(marked) };
    await this.#writeCursor(cursor);
    this.#context.logger.info({ keys: marked.map(({ id, use }) => `${id} (${use})`) }, 'rotating keys');
    return { cursor, marked };
  }

  /** Undefined when it was stopped, or another gateway took over. */
  async #scan(begun: Cursor): Promise<Cursor | undefined> {
    const { state } = this.#context;
    let cursor = begun;
    let { after } = begun;
    do {
      if (this.#loop.signal.aborted || !(await this.#lease.keep())) return undefined;
      const page = await state.scan({
        table: 'objects',
        prefix: new Uint8Array(0),
        limit: rowsPerPage,
        ...(after === undefined ? {} : { startAfter: after }),
      });
      const contents = page.items.filter(({ key }) => isContentRow(key));
      const { rewrapped, failed } = await this.#rewrapAll(contents);
      after = page.next === undefined ? undefined : pastVersions(page.next);
      cursor = {
        ...cursor,
        scanned: cursor.scanned + contents.length,
        rewrapped: cursor.rewrapped + rewrapped,
        failed: cursor.failed + failed,
      };
      await this.#writeCursor({
        ...cursor,
        ...(after === undefined ? { finishedMs: Math.floor(this.#context.clock()) } : { after }),
      });
      if (after !== undefined && contents.length > 0) {
        await this.#context.sleep((contents.length / rowsPerSecond) * 1000, this.#loop.signal);
      }
    } while (after !== undefined);
    return cursor;
  }

  async #rewrapAll(
    rows: readonly { readonly key: Uint8Array; readonly value: Uint8Array }[],
  ): Promise<{ readonly rewrapped: number; readonly failed: number }> {
    let rewrapped = 0;
    let failed = 0;
    for (let at = 0; at < rows.length; at += rowsPerBatch) {
      const changes: RowChange[] = [];
      for (const row of rows.slice(at, at + rowsPerBatch)) {
        const change = this.#tryRewrap(row.key, row.value);
        if (change === 'failed') failed++;
        else if (change !== undefined) changes.push(change);
      }
      if (changes.length === 0) continue;
      if (await this.#commit(changes)) {
        rewrapped += changes.length;
        continue;
      }
      // One of them was moved, freed or rewrapped meanwhile.
      for (const { contentId } of changes) {
        const outcome = await this.#rewrapOne(contentId);
        if (outcome === 'failed') failed++;
        else if (outcome === 'rewrapped') rewrapped++;
      }
    }
    return { rewrapped, failed };
  }

  async #rewrapOne(contentId: Uint8Array): Promise<'rewrapped' | 'needless' | 'failed'> {
    for (let attempt = 0; attempt < attemptsPerRow; attempt++) {
      const value = await this.#context.state.get('objects', contentId);
      const change = value === undefined ? undefined : this.#tryRewrap(contentId, value);
      if (change === undefined) return 'needless';
      if (change === 'failed') return change;
      if (await this.#commit([change])) return 'rewrapped';
    }
    return 'failed';
  }

  /** Undefined where the row may stay as it is. */
  #tryRewrap(contentId: Uint8Array, value: Uint8Array): RowChange | 'failed' | undefined {
    try {
      const row = decodeContent(value);
      const { sealed } = row;
      const key = sealed?.key === undefined ? undefined : this.#context.vault.rewrap(contentId, sealed.key);
      if (sealed === undefined || key?.under === undefined) return undefined;
      return {
        contentId,
        before: value,
        under: key.under,
        after: encodeContent({ ...row, sealed: { ...sealed, key } }),
      };
    } catch (error) {
      const id = Buffer.from(contentId).toString('hex');
      this.#context.logger.error({ err: error, contentId: id }, "content's key could not be wrapped anew");
      return 'failed';
    }
  }

  async #commit(changes: readonly RowChange[]): Promise<boolean> {
    const conditions: Condition[] = changes.map(({ contentId, before }) => ({
      table: 'objects',
      key: contentId,
      equals: before,
    }));
    const uses = new Map(changes.map(({ under }) => [`${useOf(under)} ${under.id}`, under]));
    for (const under of uses.values()) {
      conditions.push(await this.#keys.inUse(under, { use: useOf(under), fresh: changes.length === 1 }));
    }
    const operations: Operation[] = changes.map(({ contentId, after }) => ({
      type: 'put',
      table: 'objects',
      key: contentId,
      value: after,
    }));
    try {
      await this.#context.state.batch({ conditions, operations });
    } catch (error) {
      if (error instanceof ConditionFailedError) return false;
      throw error;
    }
    for (const { contentId } of changes) this.#context.contents.forget(contentId);
    return true;
  }

  async #readCursor(): Promise<Cursor | undefined> {
    const bytes = await this.#context.state.get('state', STATE_KEYS.rotation());
    if (bytes === undefined) return undefined;
    const fields = decodeRecord(bytes, { kind: 'key rotation', newest: rowVersion });
    const finishedMs = fields.optionalInteger('finishedMs');
    const after = fields.optionalBytes('after');
    return {
      startedMs: fields.integer('startedMs'),
      scanned: fields.integer('scanned'),
      rewrapped: fields.integer('rewrapped'),
      failed: fields.integer('failed'),
      marks: fields.bytes('marks'),
      ...(finishedMs === undefined ? {} : { finishedMs }),
      ...(after === undefined ? {} : { after }),
    };
  }

  async #writeCursor(cursor: Cursor): Promise<void> {
    await this.#context.state.set('state', STATE_KEYS.rotation(), encodeRecord(rowVersion, { ...cursor }));
  }
}

interface RowChange {
  readonly contentId: Uint8Array;
  readonly before: Uint8Array;
  readonly after: Uint8Array;
  readonly under: NonNullable<NonNullable<ReturnType<EngineContext['vault']['rewrap']>>['under']>;
}

function isContentRow(key: Uint8Array): boolean {
  return key.length === contentIdBytes && !isOfVersion(key);
}

/** Rows of current versions stand together among the content rows; there is nothing to find between them. */
function pastVersions(next: Uint8Array): Uint8Array {
  return isOfVersion(next) ? Buffer.concat([Buffer.from(ARN_PREFIX), Buffer.of(0xff)]) : next;
}

function isOfVersion(key: Uint8Array): boolean {
  return Buffer.from(key.subarray(0, ARN_PREFIX.length)).toString('latin1') === ARN_PREFIX;
}

function digestOf(keys: readonly RegisteredKey[]): Uint8Array {
  const hash = createHash('sha256');
  for (const { value } of keys) hash.update(value);
  return new Uint8Array(hash.digest());
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
