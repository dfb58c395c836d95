import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Batch, ReadOptions, ScanPage, ScanRequest } from '../../../s3db/database.ts';
import type {
  ContentId,
  DataStore,
  Locator,
  ReadContentOptions,
  WriteContentOptions,
  WrittenContent,
} from '../../data_store.ts';
import { FileDataStore } from '../../filesystem/file_data_store.ts';
import type { GlobalState, Table } from '../../global_state.ts';
import { LocalState } from '../../local_state.ts';
import { STATE_KEYS } from '../row_keys.ts';
import { openEngine, type Engine, type EngineOptions } from '../engine.ts';

/** A state in front of another, whose batches a test may look at, hold up or fail. */
class WatchedState implements GlobalState {
  readonly inner: GlobalState;
  /** Called instead of the batch; calls `apply` itself where it wants it applied. */
  onBatch: (batch: Batch, apply: () => Promise<void>) => Promise<void> = (_batch, apply) => apply();
  onGet: (table: Table, key: Uint8Array) => Promise<void> = () => Promise.resolve();
  onScan: (request: ScanRequest) => void = () => undefined;

  constructor(inner: GlobalState) {
    this.inner = inner;
  }

  async get(table: Table, key: Uint8Array, options?: ReadOptions): Promise<Uint8Array | undefined> {
    await this.onGet(table, key);
    return this.inner.get(table, key, options);
  }
  set(table: Table, key: Uint8Array, value: Uint8Array): Promise<void> {
    return this.inner.set(table, key, value);
  }
  delete(table: Table, key: Uint8Array): Promise<void> {
    return this.inner.delete(table, key);
  }
  exists(table: Table, key: Uint8Array): Promise<boolean> {
    return this.inner.exists(table, key);
  }
  listKeys(table: Table, prefix: Uint8Array): AsyncIterable<Uint8Array> {
    return this.inner.listKeys(table, prefix);
  }
  scan(request: ScanRequest & { readonly table: Table }): Promise<ScanPage> {
    this.onScan(request);
    return this.inner.scan(request);
  }
  batch(batch: Batch): Promise<void> {
    // Each engine takes the lease in the background as it starts: not what a test waits for.
    if (batch.operations.every(({ table, key }) => table === 'state' && isLease(key)))
      return this.inner.batch(batch);
    return this.onBatch(batch, () => this.inner.batch(batch));
  }
  close(): Promise<void> {
    return Promise.resolve();
  }
}

/** A store in front of another that knows what is in it. */
class WatchedData implements DataStore {
  readonly inner: DataStore;
  /** Hex of the locators whose content was written and not removed. */
  readonly live = new Set<string>();
  reads = 0;
  /** Bytes that readers took. */
  readBytes = 0;
  onRemove: (locator: Locator) => Promise<void> = () => Promise.resolve();
  onRead: (locator: Locator) => Promise<void> = () => Promise.resolve();
  afterWrite: (written: WrittenContent) => WrittenContent = (written) => written;

  constructor(inner: DataStore) {
    this.inner = inner;
  }

  async write(
    id: ContentId,
    body: AsyncIterable<Uint8Array>,
    options: WriteContentOptions,
  ): Promise<WrittenContent> {
    const written = await this.inner.write(id, body, options);
    this.live.add(Buffer.from(written.locator).toString('hex'));
    return this.afterWrite(written);
  }
  async read(locator: Locator, options?: ReadContentOptions): Promise<AsyncIterable<Uint8Array>> {
    this.reads++;
    this.readBytes += options?.range?.lengthBytes ?? 0;
    await this.onRead(locator);
    return this.inner.read(locator, options);
  }
  async remove(locator: Locator): Promise<void> {
    await this.onRemove(locator);
    await this.inner.remove(locator);
    this.live.delete(Buffer.from(locator).toString('hex'));
  }
  close(): Promise<void> {
    return Promise.resolve();
  }
}

export interface Fixture {
  readonly state: WatchedState;
  readonly data: WatchedData;
  readonly engine: Engine;
  /** Another engine over the same ports, as another gateway would be. */
  readonly another: (options?: Partial<EngineOptions>) => Promise<Engine>;
  readonly close: () => Promise<void>;
}

/** An engine over real ports in a temporary directory; its garbage is collected when the test says so. */
export async function openFixture(options: Partial<EngineOptions> = {}): Promise<Fixture> {
  const base = await mkdtemp(join(tmpdir(), 's3d-engine-'));
  const local = await LocalState.open(join(base, 'state'));
  const state = new WatchedState(local);
  const data = new WatchedData(await FileDataStore.open(join(base, 'fs')));
  const engines: Engine[] = [];
  const another: Fixture['another'] = async (more = {}) => {
    const engine = await openEngine({
      type: 'filesystem',
      state,
      data,
      region: 'eu-test-1',
      logger: silent,
      gcDelayMs: 1,
      garbageIntervalMs: 3_600_000,
      lifecycle: { tickMs: 3_600_000 },
      ...options,
      ...more,
    });
    engines.push(engine);
    return engine;
  };
  return {
    state,
    data,
    engine: await another(),
    another,
    close: async () => {
      for (const engine of engines) await engine.close();
      await local.close();
      await rm(base, { recursive: true });
    },
  };
}

function isLease(key: Uint8Array): boolean {
  const leases = [STATE_KEYS.garbageLease(), STATE_KEYS.lifecycleLease()];
  return leases.some((lease) => Buffer.compare(key, lease) === 0);
}

const silent = { debug: nothing, info: nothing, warn: nothing, error: nothing };

function nothing(): void {
  // Tests look at answers, not at logs.
}
