import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Credential } from '../../auth/credentials.ts';
import type { Engine } from '../../backend/engine/engine.ts';
import { openFilesystemBackend } from '../../backend/filesystem/filesystem_backend.ts';
import { alice, bob, createHarness, dropbox, region, textOf, textsOf } from '../testing/harness.ts';

const silent = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

let basePath: string;
let backend: Engine;
let send: ReturnType<typeof createHarness>['send'];
let buckets = 0;

beforeAll(async () => {
  basePath = await mkdtemp(join(tmpdir(), 's3d-access-'));
  backend = await openFilesystemBackend({ basePath, region, logger: silent });
  send = createHarness({ backend }).send;
});
afterAll(async () => {
  await backend.close();
  await rm(basePath, { recursive: true });
});

type Who = Credential | null;

async function code(response: Promise<Response>): Promise<string> {
  const answer = await response;
  const found = textOf(await answer.text(), 'Code');
  return found === undefined ? String(answer.status) : `${answer.status} ${found}`;
}

async function newBucket(headers: Record<string, string> = {}): Promise<string> {
  buckets += 1;
  const bucket = `access-${buckets}`;
  expect(await code(send({ method: 'PUT', target: `/${bucket}`, headers }))).toBe('200');
  return bucket;
}

const put = (
  target: string,
  as: Who = alice,
  headers: Record<string, string> = {},
  body = 'x',
): Promise<string> => code(send({ method: 'PUT', target, as, headers, body }));
const get = (target: string, as: Who = alice, headers: Record<string, string> = {}): Promise<string> =>
  code(send({ target, as, headers }));
const del = (target: string, as: Who = alice): Promise<string> =>
  code(send({ method: 'DELETE', target, as }));

function policy(bucket: string, ...statements: object[]): string {
  const full = statements.map((statement) => ({
    Effect: 'Allow',
    Principal: { AWS: '*' },
    Resource: [`arn:aws:s3:::${bucket}`, `arn:aws:s3:::${bucket}/*`],
    ...statement,
  }));
  return JSON.stringify({ Version: '2012-10-17', Statement: full });
}

async function setPolicy(bucket: string, ...statements: object[]): Promise<void> {
  expect(await put(`/${bucket}?policy`, alice, {}, policy(bucket, ...statements))).toBe('204');
}

const denied = '403 AccessDenied';

describe('a bucket policy', () => {
  it('is given back as it came, replaced and deleted', async () => {
    const b = await newBucket();
    expect(await get(`/${b}?policy`)).toBe('404 NoSuchBucketPolicy');
    const text = policy(b, { Action: 's3:ListBucket', Sid: 'caf\u00e9' });
    expect(await put(`/${b}?policy`, alice, {}, text)).toBe('204');
    const answer = await send({ target: `/${b}?policy` });
    expect([answer.headers.get('content-type'), await answer.text()]).toEqual(['application/json', text]);
    expect(await put(`/${b}?policy`, alice, {}, '{}')).toBe('400 MalformedPolicy');
    expect(await (await send({ target: `/${b}?policy` })).text()).toBe(text);
    expect(await del(`/${b}?policy`)).toBe('204');
    expect(await del(`/${b}?policy`)).toBe('204');
    expect(await get(`/${b}?policy`)).toBe('404 NoSuchBucketPolicy');
  });

  it('lets in anybody, another account, or one key', async () => {
    const b = await newBucket();
    await put(`/${b}/k`);
    expect([await get(`/${b}/k`, null), await get(`/${b}/k`, bob), await get(`/${b}/k`, dropbox)]).toEqual([
      denied,
      denied,
      denied,
    ]);
    await setPolicy(b, { Action: 's3:GetObject', Principal: { AWS: bob.accountId } });
    expect([await get(`/${b}/k`, null), await get(`/${b}/k`, bob)]).toEqual([denied, '200']);
    expect(await get(`/${b}`, bob)).toBe(denied);
    await setPolicy(b, { Action: 's3:GetObject', Principal: '*' });
    expect([await get(`/${b}/k`, null), await get(`/${b}/k`, bob)]).toEqual(['200', '200']);
    // A key whose own policy grants nothing here: naming its account leaves it to that policy.
    await setPolicy(b, { Action: 's3:GetObject', Principal: { AWS: alice.accountId } });
    expect(await get(`/${b}/k`, dropbox)).toBe(denied);
    await setPolicy(b, {
      Action: 's3:GetObject',
      Principal: { AWS: `arn:aws:iam::${alice.accountId}:user/${dropbox.displayName}` },
    });
    expect(await get(`/${b}/k`, dropbox)).toBe('200');
    expect(await put(`/${b}/k`, dropbox)).toBe(denied);
  });

  it('denies also the owner, but for the policy itself', async () => {
    const b = await newBucket();
    await put(`/${b}/k`);
    await setPolicy(b, { Effect: 'Deny', Action: 's3:*' });
    expect([await get(`/${b}/k`), await put(`/${b}/k`), await get(`/${b}`), await del(`/${b}`)]).toEqual([
      denied,
      denied,
      denied,
      denied,
    ]);
    expect(await get(`/${b}?policy`)).toBe('200');
    expect(await put(`/${b}?policy`, alice, {}, policy(b, { Effect: 'Deny', Action: '*' }))).toBe('204');
    expect(await del(`/${b}?policy`)).toBe('204');
    expect(await get(`/${b}/k`)).toBe('200');
  });

  it('gives nobody of another account a say over the policy itself', async () => {
    const b = await newBucket();
    await setPolicy(b, { Action: '*' });
    expect([await get(`/${b}?policy`, bob), await del(`/${b}?policy`, bob)]).toEqual([denied, denied]);
    expect(await put(`/${b}?policy`, bob, {}, policy(b, { Action: '*' }))).toBe(denied);
    expect(await get(`/${b}?policy`, null)).toBe(denied);
    expect([await put(`/${b}/k`, bob), await get(`/${b}?location`, bob)]).toEqual(['200', '200']);
  });

  it('looks at what the request says', async () => {
    const b = await newBucket();
    await put(`/${b}/k`);
    await setPolicy(b, {
      Action: 's3:GetObject',
      Condition: { StringLike: { 'aws:Referer': 'https://example.com/*' } },
    });
    expect(await get(`/${b}/k`, bob, { referer: 'https://example.com/a' })).toBe('200');
    expect([await get(`/${b}/k`, bob, { referer: 'https://other.com/' }), await get(`/${b}/k`, bob)]).toEqual(
      [denied, denied],
    );
    await setPolicy(
      b,
      { Action: 's3:PutObject' },
      { Action: 's3:PutObject', Effect: 'Deny', Condition: { StringLike: { 's3:x-amz-acl': 'public*' } } },
    );
    expect([await put(`/${b}/n`, bob), await put(`/${b}/n`, bob, { 'x-amz-acl': 'public-read' })]).toEqual([
      '200',
      denied,
    ]);
    await setPolicy(b, {
      Effect: 'Deny',
      Action: '*',
      Condition: { Bool: { 'aws:SecureTransport': 'true' } },
    });
    expect(await get(`/${b}/k`)).toBe(denied);
  });

  it('tells of missing keys only those who may list them', async () => {
    const b = await newBucket();
    await setPolicy(b, { Action: 's3:ListBucket', Condition: { StringLike: { 's3:prefix': 'public/*' } } });
    expect(await get(`/${b}/public/none`, bob)).toBe('404 NoSuchKey');
    expect(await get(`/${b}/private/none`, bob)).toBe(denied);
    expect([await get(`/${b}?prefix=public/x`, bob), await get(`/${b}?prefix=x`, bob)]).toEqual([
      '200',
      denied,
    ]);
    await put(`/${b}/public/k`);
    expect(await get(`/${b}/public/k`, bob)).toBe(denied);
  });

  it('names the source of a copy, and each key of a deletion', async () => {
    const from = await newBucket();
    const to = await newBucket();
    for (const key of ['open/a', 'shut/a']) await put(`/${from}/${key}`);
    await setPolicy(from, { Action: 's3:GetObject' });
    await setPolicy(to, {
      Action: 's3:PutObject',
      Condition: { StringLike: { 's3:x-amz-copy-source': `${from}/open/*` } },
    });
    expect(await put(`/${to}/k`, bob, { 'x-amz-copy-source': `/${from}/open/a` }, '')).toBe('200');
    expect(await put(`/${to}/k`, bob, { 'x-amz-copy-source': `/${from}/shut/a` }, '')).toBe(denied);
    await setPolicy(from, { Action: 's3:DeleteObject', Resource: `arn:aws:s3:::${from}/open/*` });
    const body = '<Delete><Object><Key>open/a</Key></Object><Object><Key>shut/a</Key></Object></Delete>';
    const headers = { 'content-md5': createHash('md5').update(body).digest('base64') };
    const answer = await (
      await send({ method: 'POST', target: `/${from}?delete`, body, headers, as: bob })
    ).text();
    expect(textsOf(answer, 'Key')).toEqual(['open/a', 'shut/a']);
    expect(textsOf(answer, 'Code')).toEqual(['AccessDenied']);
    expect([await get(`/${from}/open/a`), await get(`/${from}/shut/a`)]).toEqual(['404 NoSuchKey', '200']);
  });
});

describe('ACLs', () => {
  const permissions = async (target: string): Promise<string[]> =>
    textsOf(await (await send({ target })).text(), 'Permission');

  it('of buckets let in whom they name', async () => {
    const b = await newBucket({ 'x-amz-acl': 'public-read' });
    await put(`/${b}/k`);
    expect([await get(`/${b}`, null), await get(`/${b}/k`, null), await put(`/${b}/k`, null)]).toEqual([
      '200',
      denied,
      denied,
    ]);
    expect(await permissions(`/${b}?acl`)).toEqual(['READ', 'FULL_CONTROL']);
    expect(await put(`/${b}?acl`, alice, { 'x-amz-acl': 'authenticated-read' }, '')).toBe('200');
    expect([await get(`/${b}`, null), await get(`/${b}`, bob)]).toEqual([denied, '200']);
    expect(await put(`/${b}?acl`, alice, { 'x-amz-acl': 'public-read-write' }, '')).toBe('200');
    expect([await put(`/${b}/anon`, null), await del(`/${b}/anon`, null)]).toEqual(['200', '204']);
    expect(await put(`/${b}?acl`, alice, { 'x-amz-grant-write-acp': `id="${bob.accountId}"` }, '')).toBe(
      '200',
    );
    expect([await get(`/${b}`, bob), await get(`/${b}?acl`, bob)]).toEqual([denied, denied]);
    expect(await put(`/${b}?acl`, bob, { 'x-amz-acl': 'private' }, '')).toBe('200');
    expect(await put(`/${b}?acl`, bob, { 'x-amz-acl': 'private' }, '')).toBe(denied);
    expect(await permissions(`/${b}?acl`)).toEqual(['FULL_CONTROL']);
  });

  it('of objects let in whom they name', async () => {
    const b = await newBucket();
    await put(`/${b}/k`, alice, { 'x-amz-acl': 'public-read' });
    expect([await get(`/${b}/k`, null), await get(`/${b}`, null), await get(`/${b}/k?acl`, null)]).toEqual([
      '200',
      denied,
      denied,
    ]);
    const xml =
      `<AccessControlPolicy><Owner><ID>${alice.accountId}</ID></Owner><AccessControlList><Grant><Grantee>` +
      `<ID>${bob.accountId}</ID></Grantee><Permission>READ_ACP</Permission></Grant></AccessControlList></AccessControlPolicy>`;
    expect(await put(`/${b}/k?acl`, alice, {}, xml)).toBe('200');
    expect([await get(`/${b}/k`, null), await get(`/${b}/k`, bob), await get(`/${b}/k?acl`, bob)]).toEqual([
      denied,
      denied,
      '200',
    ]);
    expect(await put(`/${b}/k?acl`, bob, {}, xml)).toBe(denied);
    expect(await get(`/${b}/k`)).toBe('200');
    await put(`/${b}/copy`, alice, { 'x-amz-copy-source': `/${b}/k`, 'x-amz-acl': 'public-read' }, '');
    expect(await get(`/${b}/copy`, null)).toBe('200');
    await put(`/${b}/copy`, alice, { 'x-amz-copy-source': `/${b}/k` }, '');
    expect(await get(`/${b}/copy`, null)).toBe(denied);
  });

  it('give what another account writes to that account', async () => {
    const b = await newBucket({ 'x-amz-acl': 'public-read-write' });
    await put(`/${b}/theirs`, bob);
    expect([
      await get(`/${b}/theirs`),
      await get(`/${b}/theirs?acl`),
      await get(`/${b}/theirs`, bob),
    ]).toEqual([denied, denied, '200']);
    await setPolicy(b, { Action: 's3:GetObject' });
    expect(await get(`/${b}/theirs`, null)).toBe(denied);
    await put(`/${b}/shared`, bob, { 'x-amz-acl': 'bucket-owner-read' });
    expect([await get(`/${b}/shared`), await get(`/${b}/shared?acl`)]).toEqual(['200', denied]);
    await put(`/${b}/given`, bob, { 'x-amz-acl': 'bucket-owner-full-control' });
    expect(await permissions(`/${b}/given?acl`)).toEqual(['FULL_CONTROL', 'FULL_CONTROL']);
    expect([await del(`/${b}/theirs`), await put(`/${b}/anon`, null), await get(`/${b}/anon`)]).toEqual([
      '204',
      '200',
      '200',
    ]);
  });

  it('that make no sense are refused', async () => {
    const b = await newBucket();
    await put(`/${b}/k`);
    const xml = (inside: string): string => `<AccessControlPolicy>${inside}</AccessControlPolicy>`;
    const owner = `<Owner><ID>${alice.accountId}</ID></Owner>`;
    const grant = (grantee: string, permission = 'READ'): string =>
      `<AccessControlList><Grant><Grantee>${grantee}</Grantee><Permission>${permission}</Permission></Grant></AccessControlList>`;
    for (const target of [`/${b}?acl`, `/${b}/k?acl`]) {
      const cases: readonly (readonly [string, Record<string, string>, string])[] = [
        ['400 MissingSecurityHeader', {}, ''],
        ['400 InvalidArgument', { 'x-amz-acl': 'open' }, ''],
        ['400 InvalidArgument', { 'x-amz-grant-read': 'id="nobody"' }, ''],
        ['400 InvalidArgument', { 'x-amz-grant-read': 'somebody' }, ''],
        ['400 InvalidArgument', { 'x-amz-grant-read': 'uri="http://example.com"' }, ''],
        ['400 UnresolvableGrantByEmailAddress', { 'x-amz-grant-read': 'emailAddress="a@b.c"' }, ''],
        ['400 InvalidRequest', { 'x-amz-acl': 'private', 'x-amz-grant-read': `id="${bob.accountId}"` }, ''],
        ['400 UnexpectedContent', { 'x-amz-acl': 'private' }, xml(owner)],
        ['400 MalformedACLError', {}, '<x/>'],
        ['400 MalformedACLError', {}, xml(owner)],
        ['400 MalformedACLError', {}, xml(owner + grant(`<ID>${bob.accountId}</ID>`, 'ALL'))],
        ['400 MalformedACLError', {}, xml(owner + grant(''))],
        ['400 MalformedACLError', {}, xml(grant(`<ID>${bob.accountId}</ID>`))],
        ['400 InvalidArgument', {}, xml(owner + grant('<ID>nobody</ID>'))],
        [denied, {}, xml(`<Owner><ID>${bob.accountId}</ID></Owner>${grant(`<ID>${bob.accountId}</ID>`)}`)],
      ];
      for (const [answer, headers, body] of cases) {
        expect([target, headers, body, await put(target, alice, headers, body)]).toEqual([
          target,
          headers,
          body,
          answer,
        ]);
      }
      expect(await permissions(target)).toEqual(['FULL_CONTROL']);
    }
    expect(await put(`/${b}/none?acl`, alice, { 'x-amz-acl': 'private' }, '')).toBe('404 NoSuchKey');
  });
});

describe('object ownership', () => {
  const controls = (rule: string): string =>
    `<OwnershipControls><Rule><ObjectOwnership>${rule}</ObjectOwnership></Rule></OwnershipControls>`;

  it('enforced for the bucket owner turns ACLs off', async () => {
    const b = await newBucket({ 'x-amz-acl': 'public-read' });
    await put(`/${b}/k`, alice, { 'x-amz-acl': 'public-read' });
    expect(await put(`/${b}?ownershipControls`, alice, {}, controls('BucketOwnerEnforced'))).toBe(
      '400 InvalidBucketAclWithObjectOwnership',
    );
    await put(`/${b}?acl`, alice, { 'x-amz-acl': 'private' }, '');
    expect(await put(`/${b}?ownershipControls`, alice, {}, controls('BucketOwnerEnforced'))).toBe('200');
    expect(await get(`/${b}/k`, null)).toBe(denied);
    await setPolicy(b, { Action: 's3:PutObject' });
    expect(await put(`/${b}/theirs`, bob)).toBe('200');
    expect([await get(`/${b}/theirs`), await get(`/${b}/theirs`, bob)]).toEqual(['200', denied]);
    for (const headers of [{ 'x-amz-acl': 'private' }, { 'x-amz-grant-read': `id="${bob.accountId}"` }]) {
      const wanted = '400 AccessControlListNotSupported';
      const given = headers as Record<string, string>;
      expect(await put(`/${b}/n`, alice, given)).toBe(wanted);
      expect(await put(`/${b}?acl`, alice, given, '')).toBe(wanted);
      expect(await put(`/${b}/k?acl`, alice, given, '')).toBe(wanted);
    }
    expect(await put(`/${b}/n`, bob, { 'x-amz-acl': 'bucket-owner-full-control' })).toBe('200');
    expect(await del(`/${b}?ownershipControls`)).toBe('204');
    expect(await get(`/${b}/k`, null)).toBe('200');
    expect(await get(`/${b}?ownershipControls`)).toBe('404 OwnershipControlsNotFoundError');
  });

  it('preferred for the bucket owner takes what is offered', async () => {
    const b = await newBucket({
      'x-amz-object-ownership': 'BucketOwnerPreferred',
      'x-amz-acl': 'public-read-write',
    });
    await put(`/${b}/theirs`, bob);
    await put(`/${b}/offered`, bob, { 'x-amz-acl': 'bucket-owner-full-control' });
    const owner = async (key: string, as: Credential): Promise<string | undefined> =>
      textOf(await (await send({ target: `/${b}/${key}?acl`, as })).text(), 'ID');
    expect([await owner('theirs', bob), await owner('offered', alice)]).toEqual([
      bob.accountId,
      alice.accountId,
    ]);
  });

  it('is one of three', async () => {
    const b = await newBucket();
    for (const body of [controls('Mine'), '<OwnershipControls></OwnershipControls>', '<x/>']) {
      expect(await put(`/${b}?ownershipControls`, alice, {}, body)).toBe('400 MalformedXML');
    }
    const headers = { 'x-amz-object-ownership': 'BucketOwnerEnforced', 'x-amz-acl': 'public-read' };
    expect(await put('/access-none', alice, headers, '')).toBe('400 InvalidBucketAclWithObjectOwnership');
    expect(await put('/access-none', alice, { 'x-amz-object-ownership': 'x' }, '')).toBe(
      '400 InvalidArgument',
    );
  });
});

describe('the public access block', () => {
  async function block(bucket: string, ...on: string[]): Promise<void> {
    const body = on.map((name) => `<${name}>true</${name}>`).join('');
    const xml = `<PublicAccessBlockConfiguration>${body}</PublicAccessBlockConfiguration>`;
    expect(await put(`/${bucket}?publicAccessBlock`, alice, {}, xml)).toBe('200');
  }

  it('is given back, and deleted', async () => {
    const b = await newBucket();
    await block(b);
    const none = await (await send({ target: `/${b}?publicAccessBlock` })).text();
    expect(textOf(none, 'BlockPublicAcls')).toBe('false');
    await block(b, 'IgnorePublicAcls');
    const one = await (await send({ target: `/${b}?publicAccessBlock` })).text();
    expect([textOf(one, 'IgnorePublicAcls'), textOf(one, 'BlockPublicPolicy')]).toEqual(['true', 'false']);
    expect(await del(`/${b}?publicAccessBlock`)).toBe('204');
    expect(await get(`/${b}?publicAccessBlock`)).toBe('404 NoSuchPublicAccessBlockConfiguration');
    expect(await put(`/${b}?publicAccessBlock`, alice, {}, '<x/>')).toBe('400 MalformedXML');
  });

  it('BlockPublicAcls refuses to set public ACLs', async () => {
    const b = await newBucket();
    await put(`/${b}/k`);
    await block(b, 'BlockPublicAcls');
    for (const acl of ['public-read', 'public-read-write', 'authenticated-read']) {
      const headers = { 'x-amz-acl': acl };
      expect(await put(`/${b}?acl`, alice, headers, '')).toBe(denied);
      expect(await put(`/${b}/n`, alice, headers)).toBe(denied);
      expect(await put(`/${b}/k?acl`, alice, headers, '')).toBe(denied);
      expect(await put(`/${b}/n`, alice, { ...headers, 'x-amz-copy-source': `/${b}/k` }, '')).toBe(denied);
      expect(await code(send({ method: 'POST', target: `/${b}/n?uploads`, headers }))).toBe(denied);
    }
    expect(await put(`/${b}/n`, alice, { 'x-amz-acl': 'private' })).toBe('200');
  });

  it('IgnorePublicAcls leaves them without effect', async () => {
    const b = await newBucket({ 'x-amz-acl': 'public-read' });
    await put(`/${b}/k`, alice, { 'x-amz-acl': 'public-read' });
    await put(`/${b}/bobs`, alice, { 'x-amz-grant-read': `id="${bob.accountId}"` });
    await block(b, 'IgnorePublicAcls');
    expect([await get(`/${b}`, null), await get(`/${b}/k`, bob), await get(`/${b}/bobs`, bob)]).toEqual([
      denied,
      denied,
      '200',
    ]);
    expect(await put(`/${b}?acl`, alice, { 'x-amz-acl': 'public-read' }, '')).toBe('200');
  });

  it('BlockPublicPolicy refuses to set public policies', async () => {
    const b = await newBucket();
    await block(b, 'BlockPublicPolicy');
    expect(await put(`/${b}?policy`, alice, {}, policy(b, { Action: 's3:GetObject' }))).toBe(denied);
    await setPolicy(b, { Action: 's3:GetObject', Principal: { AWS: bob.accountId } });
    await setPolicy(b, { Effect: 'Deny', Action: 's3:GetObject' });
  });

  it('RestrictPublicBuckets keeps a public policy to the own account', async () => {
    const b = await newBucket();
    await put(`/${b}/k`);
    await setPolicy(b, { Action: 's3:GetObject' });
    await block(b, 'RestrictPublicBuckets');
    expect([await get(`/${b}/k`, null), await get(`/${b}/k`, bob)]).toEqual([denied, denied]);
    expect([await get(`/${b}/k`), await get(`/${b}/k`, dropbox)]).toEqual(['200', '200']);
    await setPolicy(b, { Action: 's3:GetObject', Principal: { AWS: bob.accountId } });
    expect(await get(`/${b}/k`, bob)).toBe('200');
  });

  it('is seen by the policy status', async () => {
    const isPublic = async (bucket: string): Promise<string | undefined> =>
      textOf(await (await send({ target: `/${bucket}?policyStatus` })).text(), 'IsPublic');
    const b = await newBucket();
    expect(await isPublic(b)).toBe('false');
    await put(`/${b}?acl`, alice, { 'x-amz-acl': 'authenticated-read' }, '');
    expect(await isPublic(b)).toBe('true');
    await block(b, 'IgnorePublicAcls');
    expect(await isPublic(b)).toBe('false');
    await setPolicy(b, { Action: 's3:GetObject' });
    expect(await isPublic(b)).toBe('true');
    await block(b, 'IgnorePublicAcls', 'RestrictPublicBuckets');
    expect(await isPublic(b)).toBe('false');
  });
});
