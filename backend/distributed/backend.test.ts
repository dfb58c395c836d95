import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { backendContract } from '../../tests/contract/backend.ts';
import { quietLogger } from '../../tests/contract/quiet_logger.ts';
import { region } from '../../tests/contract/requests.ts';
import { ShardStore } from '../../wal/shard_store.ts';
import { systemClock } from '../clock.ts';
import { openEngine } from '../engine/engine.ts';
import { LocalState } from '../local_state.ts';
import { DistributedDataStore } from './data_store.ts';

/** The object engine over erasure-coded content on five real shard stores. */
backendContract('the engine over shards', async () => {
  const directory = await mkdtemp(join(tmpdir(), 's3d-distributed-'));
  const state = await LocalState.open(join(directory, 'state'));
  const stores = await Promise.all(
    [0, 1, 2, 3, 4].map((nodeId) =>
      ShardStore.open({
        directory: join(directory, `node-${nodeId}`),
        stamp: { clusterId: 'test', nodeId },
        // Five nodes in one process: together they hold about what one usually may.
        maxUnsyncedBytes: 1024 * 1024,
      }),
    ),
  );
  const data = await DistributedDataStore.open({
    rs: { data: 3, parity: 2 },
    nodes: () =>
      stores.map((storage, id) => ({ id, host: `host-${id}`, storage, state: () => 'up' as const })),
    state,
    clock: systemClock,
    logger: quietLogger,
    randomBytes,
    holder: 'test',
  });
  const backend = await openEngine({
    type: 'distributed',
    state,
    data,
    region,
    logger: quietLogger,
    gcDelayMs: 0,
  });
  return {
    backend,
    close: async () => {
      await backend.close();
      await Promise.all(stores.map((store) => store.close()));
      await rm(directory, { recursive: true });
    },
  };
});
