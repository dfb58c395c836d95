import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { isExampleKey } from './example_keys.ts';

test.each([
  ['AKIAIOSFODNN7EXAMPLE', 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY'],
  ['somebody', 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY'],
  ['predastore', 'predastore'],
  ['minioadmin', 'minioadmin'],
  ['admin', 'Admin'],
  ['root', 'password'],
  ['same-as-the-secret', 'same-as-the-secret'],
  ['...', '...'],
  ['key', '<your secret>'],
  ['key', 'YOUR_SECRET_KEY'],
  ['key', 'xxxxxxxx'],
])('%s:%s is an example', (accessKeyId, secretAccessKey) => {
  expect(isExampleKey({ accessKeyId, secretAccessKey })).toBe(true);
});

test.each([
  ['AKIAIOSFODNN7EXAMPLE', 'k3Qw7r0ZVnJ2mX9dLs5TgYb8CeHfAaPu1KoIiRt4'],
  ['admin', 'correct horse battery staple'],
])('%s:%s is not', (accessKeyId, secretAccessKey) => {
  expect(isExampleKey({ accessKeyId, secretAccessKey })).toBe(false);
});

test.each(['cluster.toml', 'config/dev.toml', 'config/server.toml'])(
  'all pairs in the shipped %s are',
  async (file) => {
    const text = await readFile(new URL(`../${file}`, import.meta.url), 'utf8');
    const pairs = [...text.matchAll(/^access_key_id = "(.*)"\nsecret_access_key = "(.*)"$/gm)];
    expect(pairs.length).toBe(text.match(/^secret_access_key/gm)?.length);
    for (const [, accessKeyId = '', secretAccessKey = ''] of pairs) {
      expect(isExampleKey({ accessKeyId, secretAccessKey })).toBe(true);
    }
  },
);
