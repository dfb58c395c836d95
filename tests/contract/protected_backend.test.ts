import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Keyring } from '../../backend/encryption/keyring.ts';
import { openFilesystemBackend } from '../../backend/filesystem/filesystem_backend.ts';
import { backendContract } from './backend.ts';
import { quietLogger } from './quiet_logger.ts';
import { region } from './requests.ts';

backendContract('the filesystem backend with everything encrypted and compressed', async () => {
  const basePath = await mkdtemp(join(tmpdir(), 's3d-protected-'));
  const backend = await openFilesystemBackend({
    basePath,
    region,
    logger: quietLogger,
    encryption: { readKeyring: async () => Keyring.parse('a7'.repeat(32), 'test'), atRest: true },
    compressionLevel: 1,
  });
  return {
    backend,
    close: async () => {
      await backend.close();
      await rm(basePath, { recursive: true });
    },
  };
});
