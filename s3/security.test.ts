import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Credential } from '../auth/credentials.ts';
import type { Engine } from '../backend/engine/engine.ts';
import { openFilesystemBackend } from '../backend/filesystem/filesystem_backend.ts';
import { routes } from './routes.ts';
import { bob, createHarness, dropbox, region, type Harness } from './testing/harness.ts';

const silent = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};
const secret = 'the content that nobody else may see';

let basePath: string;
let backend: Engine;
let send: Harness['send'];

beforeAll(async () => {
  basePath = await mkdtemp(join(tmpdir(), 's3d-security-'));
  backend = await openFilesystemBackend({ basePath, region, logger: silent });
  send = createHarness({ backend }).send;
  await send({ method: 'PUT', target: '/private' });
  await send({ method: 'PUT', target: '/private/secret-key', body: secret });
  await send({ method: 'PUT', target: '/mine', as: bob });
});
afterAll(async () => {
  await backend.close();
  await rm(basePath, { recursive: true });
});

/** Operations that aren't about somebody's bucket. */
const forAnybody: ReadonlySet<string> = new Set(['ListBuckets', 'CreateBucket']);

/** What a route could be asked with, as well-formed as it gets without knowing the operation. */
function requestFor(row: (typeof routes)[number], target: string): Parameters<Harness['send']>[0] {
  const values: Record<string, string> = { uploadId: 'u', partNumber: '1', 'list-type': '2' };
  const query = row.query.map((name) => `${name}=${values[name] ?? ''}`).join('&');
  const body = row.method === 'PUT' || row.method === 'POST' ? '<x/>' : '';
  const headers: Record<string, string> = {
    ...(row.header === 'x-amz-copy-source' ? { 'x-amz-copy-source': '/private/secret-key' } : {}),
    ...(body === '' ? {} : { 'content-md5': createHash('md5').update(body).digest('base64') }),
  };
  return { method: row.method, target: query === '' ? target : `${target}?${query}`, headers, body };
}

describe('a private bucket', () => {
  const strangers: readonly (readonly [string, Credential | null])[] = [
    ['nobody', null],
    ['another account', bob],
    ['a key of the account that is granted nothing here', dropbox],
  ];

  it.each(strangers)('gives nothing to %s, by any operation', async (_, as) => {
    for (const row of routes) {
      if (
        row.level === 'service' ||
        row.method === ('OPTIONS' as string) ||
        forAnybody.has(row.operation.name)
      ) {
        continue;
      }
      const target = row.level === 'bucket' ? '/private' : '/private/secret-key';
      const response = await send({ ...requestFor(row, target), as });
      const text = await response.text();
      const seen = [
        row.operation.name,
        response.status,
        text.includes(secret) || text.includes('secret-key<'),
      ];
      expect(response.status, JSON.stringify(seen)).toBeGreaterThanOrEqual(400);
      expect(seen[2] === true && !text.includes('<Resource>'), JSON.stringify(seen)).toBe(false);
    }
    const still = await send({ target: '/private/secret-key' });
    expect(await still.text()).toBe(secret);
  });

  it('lets nobody copy out of it', async () => {
    const headers = { 'x-amz-copy-source': '/private/secret-key' };
    expect((await send({ method: 'PUT', target: '/mine/k', headers, as: bob })).status).toBe(403);
    expect((await send({ target: '/mine/k', as: bob })).status).toBe(404);
  });

  it('is not told of by keys that are there or not', async () => {
    for (const as of [null, bob, dropbox]) {
      for (const method of ['GET', 'HEAD'] as const) {
        const [there, not] = await Promise.all(
          ['secret-key', 'no-key'].map((key) => send({ method, target: `/private/${key}`, as })),
        );
        expect([there?.status, not?.status]).toEqual([403, 403]);
      }
    }
  });
});

describe('paths', () => {
  it('lead nowhere but to the key that they spell', async () => {
    for (const path of [
      '/mine/../private/secret-key',
      '/mine/%2e%2e/private/secret-key',
      '/mine/..%2fprivate%2fsecret-key',
      '//private/secret-key',
      '/mine//../../private/secret-key',
      '/mine/%2fprivate/secret-key',
    ]) {
      const response = await send({ target: path, as: null });
      expect([path, response.status >= 400]).toEqual([path, true]);
      expect(await response.text()).not.toContain(secret);
    }
    const key = '/mine/../../../etc/passwd';
    expect((await send({ method: 'PUT', target: key, body: 'x', as: bob })).status).toBe(200);
    expect(await (await send({ target: key, as: bob })).text()).toBe('x');
  });
});

describe('documents', () => {
  it('that would grow, or are too long, are refused', async () => {
    const bomb =
      '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>' +
      '<AccessControlPolicy>&b;</AccessControlPolicy>';
    const deep = `${'<a>'.repeat(2000)}${'</a>'.repeat(2000)}`;
    const long = `<AccessControlPolicy>${' '.repeat(200_000)}</AccessControlPolicy>`;
    for (const target of ['/private?acl', '/private/secret-key?acl', '/private?ownershipControls']) {
      for (const body of [bomb, deep, long, '<', '\u0000']) {
        const { status } = await send({ method: 'PUT', target, body });
        expect([target, body.slice(0, 20), status]).toEqual([target, body.slice(0, 20), 400]);
      }
    }
    const policy = JSON.stringify({ Version: '2012-10-17', Id: 'x'.repeat(30_000), Statement: [] });
    for (const body of [policy, '['.repeat(20_000), 'x'.repeat(100_000)]) {
      expect((await send({ method: 'PUT', target: '/private?policy', body })).status).toBe(400);
    }
  });

  it('never put a line into an answer', async () => {
    const metadata = { 'x-amz-meta-a': 'x', 'content-type': 'text/plain' };
    await send({ method: 'PUT', target: '/mine/h', body: 'x', headers: metadata, as: bob });
    for (const name of ['response-content-type', 'response-content-disposition']) {
      const response = await send({ target: `/mine/h?${name}=a%0D%0Aset-cookie:%20b`, as: bob });
      expect([name, response.status, response.headers.has('set-cookie')]).toEqual([name, 400, false]);
    }
  });
});
