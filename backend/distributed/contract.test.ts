import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { dataStoreContract } from '../../tests/contract/data_store.ts';
import { ShardStore } from '../../wal/shard_store.ts';
import { systemClock } from '../clock.ts';
import { DistributedDataStore } from './data_store.ts';
import { openCluster } from './testing/cluster.ts';
import { MemoryState } from './testing/memory_state.ts';

dataStoreContract('DistributedDataStore over nodes in memory', async () => {
  const { store: data, state } = await openCluster({ data: 3, parity: 2 });
  return { data, commit: (batch) => state.batch(batch), close: () => data.close() };
});

dataStoreContract('DistributedDataStore over shard stores', async () => {
  const directory = await mkdtemp(join(tmpdir(), 's3d-contract-'));
  const state = new MemoryState();
  const stores = await Promise.all(
    [0, 1, 2].map((nodeId) =>
      ShardStore.open({ directory: join(directory, String(nodeId)), stamp: { clusterId: 'test', nodeId } }),
    ),
  );
  const log = (): void => undefined;
  const data = await DistributedDataStore.open({
    rs: { data: 2, parity: 1 },
    nodes: () =>
      stores.map((storage, id) => ({ id, host: `host-${id}`, storage, state: () => 'up' as const })),
    state,
    clock: systemClock,
    logger: { info: log, warn: log, error: log },
    randomBytes,
    holder: 'test',
  });
  return {
    data,
    commit: (batch) => state.batch(batch),
    close: async () => {
      await data.close();
      await Promise.all(stores.map((store) => store.close()));
      await rm(directory, { recursive: true });
    },
  };
});
