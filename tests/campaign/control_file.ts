import { randomUUID } from 'node:crypto';
import { rename, writeFile } from 'node:fs/promises';

/** Never seen half written, not even when it is written twice at once. */
export async function replaceFile(path: string, text: string): Promise<void> {
  const written = `${path}.${randomUUID()}`;
  await writeFile(written, text);
  await rename(written, path);
}
