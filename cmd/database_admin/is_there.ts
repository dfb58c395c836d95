import { access } from 'node:fs/promises';
import { hasCode } from '../../s3db/durable_files.ts';

/** Whether there is anything at the path. @throws the system's error where that can't be seen */
export async function isThere(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return false;
    throw error;
  }
}
