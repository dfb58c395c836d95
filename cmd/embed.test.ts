import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openDistributedBackend } from './embed.ts';

test('a program that embeds the backend is held to the same keys as s3d', async () => {
  const directory = await mkdtemp(join(tmpdir(), 's3d-embed-'));
  const dev = await readFile('config/dev.toml', 'utf8');
  const configFile = join(directory, 'exposed.toml');
  const exposed = dev
    .replaceAll('"127.0.0.1"', '"0.0.0.0"')
    .replace('"data/dev/"', `"${join(directory, 'data')}"`);
  await writeFile(configFile, exposed);
  await expect(openDistributedBackend({ configFile })).rejects.toThrow(
    "'AKIAIOSFODNN7EXAMPLE' is an example or default pair, which is refused on 0.0.0.0",
  );
  expect(await readdir(directory)).toEqual(['exposed.toml']);
  await rm(directory, { recursive: true });
});
