import type { Batch, Condition } from './database.ts';
import { ConditionFailedError } from './errors.ts';
import { asBuffer, bytesEqual, startsWith } from './key_bytes.ts';
import {
  encodeKey,
  openValue,
  prefixRange,
  toLevelOperation,
  validateBatch,
  type BytesLevel,
  type LevelOperation,
} from './level_tables.ts';

/**
 * Evaluates batches one after another against a Level and the effects of the batches before them in the same round,
 * so that one synced Level batch can carry the effects of all. While a round is open nobody else may write to the
 * Level's tables: what it has read must still hold when its operations are written.
 */
export class BatchRound {
  readonly #level: BytesLevel;
  readonly #effects = new Map<string, LevelOperation>();
  readonly #rows = new Map<string, Uint8Array | undefined>();
  /** Keys of the puts among the effects, in order; made when a prefix is asked about. */
  #putKeys: Uint8Array[] | undefined;

  constructor(level: BytesLevel) {
    this.#level = level;
  }

  /** Reads in one go the rows that the conditions ask about. Not needed, but one read is cheaper than many. */
  async prefetch(conditions: Iterable<Condition>): Promise<void> {
    const keys: Uint8Array[] = [];
    const names: string[] = [];
    for (const condition of conditions) {
      if ('prefix' in condition) continue;
      const key = encodeKey(condition.table, condition.key);
      const name = nameOf(key);
      if (this.#rows.has(name)) continue;
      this.#rows.set(name, undefined);
      keys.push(key);
      names.push(name);
    }
    if (keys.length === 0) return;
    const stored: (Uint8Array | undefined)[] = await this.#level.getMany(keys);
    names.forEach((name, i) => this.#rows.set(name, stored[i]));
  }

  /**
   * All of the batch or nothing: the position of the first condition that doesn't hold, or undefined and the batch's
   * operations are now among the round's effects. @throws ValueDamagedError
   */
  async evaluate(batch: Batch): Promise<number | undefined> {
    await this.prefetch(batch.conditions);
    for (const [position, condition] of batch.conditions.entries()) {
      const holds =
        'prefix' in condition
          ? !(await this.#anyUnder(condition.table, condition.prefix))
          : this.#rowHolds(condition);
      if (!holds) return position;
    }
    if (batch.operations.length > 0) this.#putKeys = undefined;
    for (const operation of batch.operations) {
      const effect = toLevelOperation(operation);
      this.#effects.set(nameOf(effect.key), effect);
    }
    return undefined;
  }

  /** One operation for each row that the round changes. */
  operations(): LevelOperation[] {
    return [...this.#effects.values()];
  }

  #rowHolds(condition: Exclude<Condition, { prefix: Uint8Array }>): boolean {
    const key = encodeKey(condition.table, condition.key);
    const name = nameOf(key);
    const effect = this.#effects.get(name);
    const stored =
      effect === undefined ? this.#rows.get(name) : effect.type === 'put' ? effect.value : undefined;
    if ('exists' in condition) return (stored !== undefined) === condition.exists;
    return stored !== undefined && bytesEqual(openValue(key, stored), condition.equals);
  }

  #anyPutUnder(levelPrefix: Uint8Array): boolean {
    this.#putKeys ??= [...this.#effects.values()]
      .filter((effect) => effect.type === 'put')
      .map((effect) => effect.key)
      .sort((a, b) => Buffer.compare(a, b));
    let low = 0;
    let high = this.#putKeys.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const key = this.#putKeys[middle];
      if (key !== undefined && Buffer.compare(key, levelPrefix) < 0) low = middle + 1;
      else high = middle;
    }
    const first = this.#putKeys[low];
    return first !== undefined && startsWith(first, levelPrefix);
  }

  async #anyUnder(table: string, prefix: Uint8Array): Promise<boolean> {
    const { gte, lt } = prefixRange(table, prefix);
    if (this.#anyPutUnder(gte)) return true;
    const keys = this.#level.keys({ gte, lt });
    try {
      for (;;) {
        const page = await keys.nextv(16);
        if (page.length === 0) return false;
        if (page.some((key) => this.#effects.get(nameOf(key))?.type !== 'del')) return true;
      }
    } finally {
      await keys.close();
    }
  }
}

/** The position of the first condition that doesn't hold, undefined when all do. @throws ValueDamagedError */
export async function checkConditions(
  level: BytesLevel,
  conditions: readonly Condition[],
): Promise<number | undefined> {
  return new BatchRound(level).evaluate({ conditions, operations: [] });
}

/**
 * Applies batches in order, each all or nothing, in one Level write (durable when it resolves, unless `sync: false`).
 * The caller lets only one such call run at a time. Answers in the order of the batches: a ConditionFailedError
 * where a batch was not applied. @throws InvalidRequestError, ValueDamagedError: none was applied.
 */
export async function applyBatches(
  level: BytesLevel,
  batches: readonly Batch[],
  options: { readonly sync?: boolean } = {},
): Promise<(ConditionFailedError | undefined)[]> {
  batches.forEach(validateBatch);
  const round = new BatchRound(level);
  await round.prefetch(batches.flatMap((batch) => batch.conditions));
  const answers: (ConditionFailedError | undefined)[] = [];
  for (const batch of batches) {
    const failed = await round.evaluate(batch);
    answers.push(failed === undefined ? undefined : new ConditionFailedError(failed));
  }
  const operations = round.operations();
  if (operations.length > 0) await level.batch(operations, { sync: options.sync ?? true });
  return answers;
}

function nameOf(levelKey: Uint8Array): string {
  return asBuffer(levelKey).toString('latin1');
}
