import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FileDataStore } from '../../backend/filesystem/file_data_store.ts';
import { dataStoreContract } from './data_store.ts';

for (const blockBytes of [64 * 1024, 1000]) {
  dataStoreContract(`FileDataStore with blocks of ${blockBytes} bytes`, async () => {
    const directory = await mkdtemp(join(tmpdir(), 's3d-fs-'));
    const data = await FileDataStore.open(directory, { blockBytes });
    return {
      data,
      close: async () => {
        await data.close();
        await rm(directory, { recursive: true });
      },
    };
  });
}
