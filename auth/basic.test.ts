import { expect, test } from 'vitest';
import { authenticateBasic, isBasic } from './basic.ts';
import { AuthError } from './errors.ts';
import { exampleCredential, exampleStore } from './testing/requests.ts';

const { accessKeyId, secretAccessKey } = exampleCredential;

function basic(text: string): string {
  return `Basic ${Buffer.from(text).toString('base64')}`;
}

async function attempt(authorization: string): Promise<unknown> {
  return await authenticateBasic(authorization, { credentials: exampleStore }).catch(
    (error: unknown) => error,
  );
}

test('the right pair is let in, however the scheme is written', async () => {
  const value = basic(`${accessKeyId}:${secretAccessKey}`);
  expect(await attempt(value)).toBe(exampleCredential);
  expect(await attempt(value.replace('Basic', 'bASIC  '))).toBe(exampleCredential);
});

test('a password may contain colons and any letters', async () => {
  const credential = { ...exampleCredential, secretAccessKey: 'a:b:ü€' };
  const credentials = { find: async () => credential };
  expect(await authenticateBasic(basic('x:a:b:ü€'), { credentials })).toBe(credential);
});

test.each([
  ['a wrong password', basic(`${accessKeyId}:wrong`)],
  ['no password', basic(`${accessKeyId}:`)],
  ['a prefix of the password', basic(`${accessKeyId}:${secretAccessKey.slice(0, -1)}`)],
  ['more than the password', basic(`${accessKeyId}:${secretAccessKey}x`)],
  ['an unknown user', basic(`unknown:${secretAccessKey}`)],
  ['an unknown user without password', basic('unknown:')],
  ['nothing', ''],
  ['no value', 'Basic'],
  ['no colon', basic(accessKeyId)],
  ['no base64', `Basic ${accessKeyId}:${secretAccessKey}`],
  ['another scheme', `Bearer ${Buffer.from(`${accessKeyId}:${secretAccessKey}`).toString('base64')}`],
  ['an immense value', basic('a'.repeat(100_000))],
])('%s is refused like any other', async (_, authorization) => {
  const error = await attempt(authorization);
  expect(error).toBeInstanceOf(AuthError);
  expect(error).toMatchObject({ code: 'AccessDenied', message: 'Access Denied', details: {} });
});

test('isBasic tells the scheme', () => {
  expect(['Basic abc', 'basic abc', 'Basic'].every(isBasic)).toBe(true);
  expect(['Basically', 'AWS4-HMAC-SHA256 Credential=a', ''].some(isBasic)).toBe(false);
});
