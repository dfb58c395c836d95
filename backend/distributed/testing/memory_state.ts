import type { Batch, Condition, Operation, ScanPage, ScanRequest } from '../../../s3db/database.ts';
import { ConditionFailedError } from '../../../s3db/errors.ts';
import type { GlobalState, Table } from '../../global_state.ts';

/** GlobalState in memory. */
export class MemoryState implements GlobalState {
  readonly rows = new Map<string, Uint8Array>();
  /** When set, every call fails with it. */
  failure: Error | undefined;

  async get(table: Table, key: Uint8Array): Promise<Uint8Array | undefined> {
    this.#check();
    return this.rows.get(name(table, key));
  }

  async set(table: Table, key: Uint8Array, value: Uint8Array): Promise<void> {
    await this.batch({ conditions: [], operations: [{ type: 'put', table, key, value }] });
  }

  async delete(table: Table, key: Uint8Array): Promise<void> {
    await this.batch({ conditions: [], operations: [{ type: 'delete', table, key }] });
  }

  async exists(table: Table, key: Uint8Array): Promise<boolean> {
    return (await this.get(table, key)) !== undefined;
  }

  async *listKeys(table: Table, prefix: Uint8Array): AsyncIterable<Uint8Array> {
    const page = await this.scan({ table, prefix, limit: 10_000 });
    for (const item of page.items) yield item.key;
  }

  async scan(request: ScanRequest & { readonly table: Table }): Promise<ScanPage> {
    this.#check();
    const prefix = name(request.table, request.prefix);
    const after = request.startAfter === undefined ? '' : name(request.table, request.startAfter);
    const found = [...this.rows]
      .filter(([key]) => key.startsWith(prefix) && key > after)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, value]) => ({ key: Buffer.from(key.slice(request.table.length + 1), 'hex'), value }));
    const items = found.slice(0, request.limit);
    const last = items.at(-1);
    const truncated = found.length > items.length;
    return { items, prefixes: [], truncated, ...(truncated && last !== undefined ? { next: last.key } : {}) };
  }

  async batch(batch: Batch): Promise<void> {
    this.#check();
    batch.conditions.forEach((condition, i) => {
      if (!this.#holds(condition)) throw new ConditionFailedError(i);
    });
    for (const operation of batch.operations) this.#apply(operation);
  }

  async close(): Promise<void> {
    // Nothing is held.
  }

  #check(): void {
    if (this.failure !== undefined) throw this.failure;
  }

  #holds(condition: Condition): boolean {
    if ('prefix' in condition) {
      const prefix = name(condition.table, condition.prefix);
      return ![...this.rows.keys()].some((key) => key.startsWith(prefix));
    }
    const value = this.rows.get(name(condition.table, condition.key));
    if ('exists' in condition) return (value !== undefined) === condition.exists;
    return value !== undefined && Buffer.compare(value, condition.equals) === 0;
  }

  #apply(operation: Operation): void {
    const key = name(operation.table, operation.key);
    if (operation.type === 'put') this.rows.set(key, operation.value);
    else this.rows.delete(key);
  }
}

function name(table: string, key: Uint8Array): string {
  return `${table}:${Buffer.from(key).toString('hex')}`;
}
