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
