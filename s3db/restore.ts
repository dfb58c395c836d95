import { createHash } from 'node:crypto';
import { markRestore, type RestoreMark } from './cluster_rows.ts';
import { encodeBatch } from './command.ts';
import type { Batch } from './database.ts';
import { InvalidRequestError, UnavailableError } from './errors.ts';
import type { Replica } from './replica.ts';
import { mintRequestId } from './request_id.ts';
import { checkWritable } from './reserved_tables.ts';
import type { StateMachine } from './state_machine.ts';

/**
 * Takes a backup into an empty database, in parts, each of them a batch of the log. A mark in the log says that a restore is
 * under way and how many parts it has: while it is there nothing is read or written by others, and a part that is sent twice
 * is taken once. The mark goes only when the contents' digest is that of the backup. Only the leader does this.
 */
export class Restore {
  readonly #replica: Replica;
  readonly #state: StateMachine;
  #digest:
    { readonly id: string; readonly contents: Promise<{ rows: number; contents: string }> } | undefined;

  constructor(replica: Replica, state: StateMachine) {
    this.#replica = replica;
    this.#state = state;
  }

  /** Begins a restore, or goes on with it. Resolves with the number of parts taken. @throws InvalidRequestError */
  async begin(id: string, timeoutMs: number): Promise<{ readonly parts: number }> {
    const deadlineMs = performance.now() + timeoutMs;
    await this.#replica.readBarrier(timeoutMs);
    const { restore } = this.#state.cluster;
    if (restore?.id === id) return { parts: restore.parts };
    if (restore !== undefined) {
      throw new InvalidRequestError(
        `another restore was begun here and not finished (${restore.id}): go on with that backup, or start with empty directories`,
      );
    }
    await this.#assertEmpty();
    await this.#write(markRestore(undefined, { id, parts: 0 }), deadlineMs);
    try {
      // What was on its way into the log before the mark was.
      await this.#assertEmpty();
    } catch (error) {
      await this.#write(markRestore({ id, parts: 0 }, undefined), deadlineMs);
      throw error;
    }
    return { parts: 0 };
  }

  /** Takes part `number`, counted from 0; puts only. @throws InvalidRequestError */
  async part(
    id: string,
    part: { readonly number: number; readonly batch: Batch },
    timeoutMs: number,
  ): Promise<void> {
    const deadlineMs = performance.now() + timeoutMs;
    const { number, batch } = part;
    checkWritable(batch);
    if (batch.conditions.length > 0 || batch.operations.some((operation) => operation.type !== 'put')) {
      throw new InvalidRequestError('a part of a restore holds rows to put, and nothing else');
    }
    await this.#replica.readBarrier(timeoutMs);
    const mark = this.#mark(id);
    if (mark.parts === number + 1) return;
    if (mark.parts !== number) throw new InvalidRequestError(`part ${mark.parts} is next, not ${number}`);
    const step = markRestore(mark, { id, parts: number + 1 });
    await this.#write({ ...step, operations: [...step.operations, ...batch.operations] }, deadlineMs);
  }

  /**
   * Ends the restore if the database holds what it should. Reading all of it may take longer than a call: then it says so, and is to be asked
   * again. @throws InvalidRequestError when it holds something else; UnavailableError
   */
  async finish(
    id: string,
    expected: { readonly rows: number; readonly contents: string },
    timeoutMs: number,
  ): Promise<void> {
    const deadlineMs = performance.now() + timeoutMs;
    await this.#replica.readBarrier(timeoutMs);
    if (this.#state.cluster.restore === undefined) {
      // Asked again after an answer that was lost.
      const { contents } = await this.#contents(id, deadlineMs, [auditHalted]);
      if (contents === expected.contents) return;
      throw new InvalidRequestError('no restore is under way');
    }
    const mark = this.#mark(id);
    const found = await this.#contents(id, deadlineMs);
    this.#digest = undefined;
    if (found.rows !== expected.rows || found.contents !== expected.contents) {
      throw new InvalidRequestError(
        `the database holds ${found.rows} rows with digest ${found.contents}, not the backup's ${expected.rows} with ${expected.contents}: ` +
          'the restore failed; start anew with empty directories',
      );
    }
    const end = markRestore(mark, undefined);
    await this.#write({ ...end, operations: [...end.operations, auditHalted] }, deadlineMs);
  }

  #mark(id: string): RestoreMark {
    const { restore } = this.#state.cluster;
    if (restore?.id !== id) throw new InvalidRequestError('this restore was not begun here');
    return restore;
  }

  async #assertEmpty(): Promise<void> {
    const table = await this.#state.firstTable();
    if (table === undefined) return;
    throw new InvalidRequestError(
      `the database is not empty (table ${table} has rows): a backup is restored into a new cluster, before anything uses it`,
    );
  }

  async #contents(
    id: string,
    deadlineMs: number,
    without: readonly { table: string; key: Uint8Array }[] = [],
  ): Promise<{ rows: number; contents: string }> {
    const name = `${id} ${without.length}`;
    if (this.#digest?.id !== name) this.#digest = { id: name, contents: this.#state.contentsDigest(without) };
    const { contents } = this.#digest;
    let timer: NodeJS.Timeout | undefined;
    const tooLate = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => reject(new UnavailableError('the contents are still being read: ask again')),
        Math.max(1, deadlineMs - performance.now()),
      );
    });
    try {
      return await Promise.race([contents, tooLate]);
    } finally {
      clearTimeout(timer);
    }
  }

  async #write(batch: Batch, deadlineMs: number): Promise<void> {
    const requestId = mintRequestId(Date.now());
    const write = { body: encodeBatch(batch), requestId, makesRoom: false, ofRestore: true };
    const outcome = await this.#replica.writeAsLeader(write, deadlineMs);
    if (outcome.kind !== 'applied')
      throw new UnavailableError('the restore was changed meanwhile: begin again');
  }
}

/**
 * Content that was stored after the backup was made is named by nothing now. Before any of it is deleted as an orphan,
 * somebody is to decide so (`s3d admin audit resume`).
 */
export const auditHalted = {
  type: 'put',
  table: 'state',
  key: new Uint8Array(Buffer.from('cluster:audit:halted')),
  value: new Uint8Array(Buffer.from('restored')),
} as const;

/** An id that is the same for the same backup, so that an interrupted restore is gone on with. */
export function restoreIdOf(contents: string): string {
  return createHash('sha256').update(`restore of ${contents}`).digest('hex').slice(0, 32);
}
