import type {
  Batch,
  Database,
  ReadOptions,
  ScanPage,
  ScanRequest,
  WriteOptions,
} from '../../s3db/database.ts';
import type { GlobalState, Table } from '../global_state.ts';
import { scanPages } from '../state_rows.ts';

const keysPerPage = 1000;

/** GlobalState in the metadata database: what one gateway writes, every gateway sees. */
export class DistributedState implements GlobalState {
  readonly #database: Database;

  /** Takes the database over: closing the state closes it. */
  constructor(database: Database) {
    this.#database = database;
  }

  async get(table: Table, key: Uint8Array, options?: ReadOptions): Promise<Uint8Array | undefined> {
    return this.#database.get(table, key, options);
  }

  async set(table: Table, key: Uint8Array, value: Uint8Array): Promise<void> {
    await this.batch({ conditions: [], operations: [{ type: 'put', table, key, value }] });
  }

  async delete(table: Table, key: Uint8Array): Promise<void> {
    await this.batch({ conditions: [], operations: [{ type: 'delete', table, key }] });
  }

  async exists(table: Table, key: Uint8Array, options?: ReadOptions): Promise<boolean> {
    return (await this.get(table, key, options)) !== undefined;
  }

  async *listKeys(table: Table, prefix: Uint8Array): AsyncIterable<Uint8Array> {
    for await (const page of scanPages(this.#database, { table, prefix, limit: keysPerPage })) {
      for (const item of page.items) yield item.key;
    }
  }

  async scan(request: ScanRequest & { readonly table: Table }, options?: ReadOptions): Promise<ScanPage> {
    return this.#database.scan(request, options);
  }

  async batch(batch: Batch, options?: WriteOptions): Promise<void> {
    await this.#database.batch(batch, options);
  }

  async close(): Promise<void> {
    await this.#database.close();
  }
}
