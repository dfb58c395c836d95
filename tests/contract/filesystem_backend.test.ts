import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openFilesystemBackend } from '../../backend/filesystem/filesystem_backend.ts';
import { backendContract } from './backend.ts';
import { quietLogger } from './quiet_logger.ts';
import { region } from './requests.ts';

backendContract('the filesystem backend', async () => {
  const basePath = await mkdtemp(join(tmpdir(), 's3d-backend-'));
  const backend = await openFilesystemBackend({ basePath, region, logger: quietLogger });
  return {
    backend,
    close: async () => {
      await backend.close();
      await rm(basePath, { recursive: true });
    },
  };
});
