import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Backend } from '../../backend/backend.ts';
import { openCluster } from '../../backend/distributed/testing/cluster.ts';
import { openEngine } from '../../backend/engine/engine.ts';
import { openFixture } from '../../backend/engine/testing/fixture.ts';
import { LocalState } from '../../backend/local_state.ts';
import { region } from '../../s3/testing/harness.ts';

const silent = { debug: nothing, info: nothing, warn: nothing, error: nothing };

function nothing(): void {
  // Tests look at answers, not at logs.
}

/** A backend over real files, and how to end it. */
export interface OpenedBackend {
  readonly backend: Backend;
  readonly close: () => Promise<void>;
}

/** Objects in files. */
export async function openFilesystem(): Promise<OpenedBackend> {
  const fixture = await openFixture();
  return { backend: fixture.engine, close: fixture.close };
}

/** Objects as shards on nodes in memory; what is known of them in files. */
export async function openDistributed(): Promise<OpenedBackend> {
  const directory = await mkdtemp(join(tmpdir(), 's3d-fuzz-'));
  const state = await LocalState.open(join(directory, 'state'));
  const { store } = await openCluster({ data: 2, parity: 1 }, { state });
  const backend = await openEngine({
    type: 'distributed',
    state,
    data: store,
    region,
    logger: silent,
    gcDelayMs: 0,
    randomBytes: (length) => randomBytes(length),
  });
  return {
    backend,
    async close() {
      await backend.close();
      await rm(directory, { recursive: true });
    },
  };
}

/** As it stands in a path or a query. */
export function encoded(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}
