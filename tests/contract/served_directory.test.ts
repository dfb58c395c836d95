import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openFilesystemBackend } from '../../backend/filesystem/filesystem_backend.ts';
import { backendContract } from './backend.ts';
import { quietLogger } from './quiet_logger.ts';
import { alice, region, takeBucketsFrom } from './requests.ts';

const enough = 200;

backendContract(
  'a served directory',
  async () => {
    const basePath = await mkdtemp(join(tmpdir(), 's3d-served-'));
    const names = Array.from({ length: enough }, (_, i) => `served-${i}`);
    for (const name of names) await mkdir(join(basePath, 'trees', name), { recursive: true });
    const backend = await openFilesystemBackend({
      basePath,
      region,
      logger: quietLogger,
      buckets: names.map((name) => ({
        name,
        owner: alice,
        public: false,
        pathname: join(basePath, 'trees', name),
      })),
    });
    takeBucketsFrom(backend, () => {
      const name = names.pop();
      if (name === undefined) throw new Error(`the suite needs more than ${enough} buckets`);
      return name;
    });
    return {
      backend,
      close: async () => {
        await backend.close();
        await rm(basePath, { recursive: true });
      },
    };
  },
  { makesBuckets: false },
);
