import { join } from 'node:path';
import type { Owner } from '../backend.ts';
import type { EngineContext, EngineLogger } from '../engine/context.ts';
import { openEngineAndContext, type Engine, type EngineOptions } from '../engine/engine.ts';
import type { ConfiguredBucket } from '../engine/buckets.ts';
import type { LifecycleOptions } from '../engine/lifecycle_worker.ts';
import { LocalState } from '../local_state.ts';
import { FileDataStore } from './file_data_store.ts';
import { OrphanAudit } from './orphan_audit.ts';
import { ServedBuckets } from './served_buckets.ts';
import { TreeBucket } from './tree/tree_bucket.ts';

const defaultGcDelayMs = 60_000;

export interface FilesystemBackendOptions {
  /** Root of all that the backend keeps: `state/` (Level) and `fs/` (content). */
  readonly basePath: string;
  readonly region: string;
  readonly logger: EngineLogger;
  readonly buckets?: readonly FilesystemBucket[];
  /** A GET that is slower than this may be cut when its object is replaced meanwhile. */
  readonly gcDelayMs?: number;
  readonly encryption?: EngineOptions['encryption'];
  readonly compressionLevel?: number;
  readonly clock?: () => number;
  readonly lifecycle?: LifecycleOptions;
  /** Names that objects may carry besides STANDARD. Files are kept in one way whatever they carry. */
  readonly storageClasses?: readonly string[];
  /** As in `EngineOptions`. Objects of buckets with a `pathname` have no observers. */
  readonly observers?: EngineOptions['observers'];
  readonly workers?: EngineOptions['workers'];
}

/** `[[buckets]]` of the configuration. */
export interface FilesystemBucket extends ConfiguredBucket {
  readonly name: string;
  readonly owner: Owner;
  readonly public: boolean;
  /** An existing directory that is served as the bucket. */
  readonly pathname?: string;
}

/**
 * The engine over Level and files, for one process on one host; buckets with a `pathname` are served from their
 * directories. `basePath` is locked against other processes.
 */
export async function openFilesystemBackend(options: FilesystemBackendOptions): Promise<Engine> {
  const state = await LocalState.open(join(options.basePath, 'state'));
  const closing: (() => Promise<void>)[] = [() => state.close()];
  try {
    const data = await FileDataStore.open(join(options.basePath, 'fs'));
    const audit = new OrphanAudit({ state, data, logger: options.logger });
    const { engine, context } = await openEngineAndContext({
      type: 'filesystem',
      state,
      data: audit.guarding(data),
      region: options.region,
      logger: options.logger,
      gcDelayMs: options.gcDelayMs ?? defaultGcDelayMs,
      buckets: options.buckets ?? [],
      storageClasses: options.storageClasses ?? [],
      ...(options.encryption === undefined ? {} : { encryption: options.encryption }),
      ...(options.compressionLevel === undefined ? {} : { compressionLevel: options.compressionLevel }),
      observers: options.observers ?? [],
      workers: options.workers ?? [],
      ...(options.clock === undefined ? {} : { clock: options.clock }),
      ...(options.lifecycle === undefined ? {} : { lifecycle: options.lifecycle }),
    });
    closing[0] = () => engine.close();
    const trees = await openTrees(context, options.buckets ?? []);
    audit.start();
    return trees.size === 0 ? engine : new ServedBuckets(engine, context, trees);
  } catch (error) {
    for (const close of closing) await close();
    throw error;
  }
}

async function openTrees(
  context: EngineContext,
  buckets: readonly FilesystemBucket[],
): Promise<ReadonlyMap<string, TreeBucket>> {
  const trees = new Map<string, TreeBucket>();
  try {
    for (const { name, pathname } of buckets) {
      if (pathname !== undefined) trees.set(name, await TreeBucket.open(context, { name, pathname }));
    }
    return trees;
  } catch (error) {
    for (const tree of trees.values()) await tree.close();
    throw error;
  }
}
