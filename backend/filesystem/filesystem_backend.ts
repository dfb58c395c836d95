import { join } from 'node:path';
import type { Owner } from '../backend.ts';
import type { EngineLogger } from '../engine/context.ts';
import { openEngine, type Engine } from '../engine/engine.ts';
import { LocalState } from '../local_state.ts';
import { FileDataStore } from './file_data_store.ts';

const defaultGcDelayMs = 60_000;

export interface FilesystemBackendOptions {
  /** Root of all that the backend keeps: `state/` (Level) and `fs/` (content). */
  readonly basePath: string;
  readonly region: string;
  readonly logger: EngineLogger;
  readonly buckets?: readonly FilesystemBucket[];
  /** A GET that is slower than this may be cut when its object is replaced meanwhile. */
  readonly gcDelayMs?: number;
  readonly clock?: () => number;
}

/** `[[buckets]]` of the configuration. */
export interface FilesystemBucket {
  readonly name: string;
  readonly owner: Owner;
  readonly public: boolean;
  /** An existing directory that is served as the bucket. */
  readonly pathname?: string;
}

/** The engine over Level and files, for one process on one host. */
export async function openFilesystemBackend(options: FilesystemBackendOptions): Promise<Engine> {
  const state = await LocalState.open(join(options.basePath, 'state'));
  const data = await FileDataStore.open(join(options.basePath, 'fs'));
  return openEngine({
    type: 'filesystem',
    state,
    data,
    region: options.region,
    logger: options.logger,
    gcDelayMs: options.gcDelayMs ?? defaultGcDelayMs,
    buckets: (options.buckets ?? []).filter(({ pathname }) => pathname === undefined),
    ...(options.clock === undefined ? {} : { clock: options.clock }),
  });
}
