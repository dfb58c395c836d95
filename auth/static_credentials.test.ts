import { expect, test } from 'vitest';
import { staticCredentials } from './static_credentials.ts';
import { exampleCredential } from './testing/requests.ts';

test('finds what it was given, the same object each time', async () => {
  const store = staticCredentials([exampleCredential, { ...exampleCredential, accessKeyId: '__proto__' }]);
  const found = await store.find(exampleCredential.accessKeyId);
  expect(found).toEqual(exampleCredential);
  expect(await store.find(exampleCredential.accessKeyId)).toBe(found);
  expect((await store.find('__proto__'))?.accessKeyId).toBe('__proto__');
});

test('knows nothing else', async () => {
  const store = staticCredentials([exampleCredential]);
  for (const id of ['', 'constructor', '__proto__', 'toString', 'akiaiosfodnn7example']) {
    expect(await store.find(id)).toBeUndefined();
  }
});

test('keeps no tie to the list', async () => {
  const list = [{ ...exampleCredential }];
  const store = staticCredentials(list);
  (list[0] as { secretAccessKey: string }).secretAccessKey = 'changed';
  list.length = 0;
  expect(await store.find(exampleCredential.accessKeyId)).toEqual(exampleCredential);
});

test('refuses lists that mean nothing, without repeating a secret', () => {
  const other = { ...exampleCredential, accountId: '2' };
  expect(() => staticCredentials([exampleCredential, other])).toThrow(
    /"AKIAIOSFODNN7EXAMPLE" must not be given twice/,
  );
  expect(() => staticCredentials([{ ...exampleCredential, accessKeyId: '' }])).toThrow(RangeError);
  expect(() => staticCredentials([{ ...exampleCredential, secretAccessKey: '' }])).toThrow(RangeError);
  expect(() => staticCredentials([exampleCredential, other])).not.toThrow(exampleCredential.secretAccessKey);
});
