import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openFilesystemBackend } from '../backend/filesystem/filesystem_backend.ts';
import { aliceOwner, bob, createHarness, region, textOf, textsOf, type Harness } from './testing/harness.ts';

let s3: Harness;
let close: () => Promise<void>;
beforeEach(async () => {
  const basePath = await mkdtemp(join(tmpdir(), 's3d-protection-'));
  const backend = await openFilesystemBackend({
    basePath,
    region,
    logger: { debug: quiet, info: quiet, warn: quiet, error: quiet },
    buckets: [
      {
        name: 'tree',
        pathname: await mkdtemp(join(tmpdir(), 's3d-tree-')),
        owner: aliceOwner,
        public: false,
      },
    ],
  });
  s3 = createHarness({ backend });
  close = async () => {
    await backend.close();
    await rm(basePath, { recursive: true });
  };
  await send('PUT', '/bkt');
});
afterEach(() => close());

function quiet(): void {
  // Tests look at answers, not at logs.
}

async function send(
  method: string,
  target: string,
  more: { body?: string; headers?: Record<string, string>; as?: typeof bob } = {},
): Promise<{ status: number; headers: Headers; text: string; code: string | undefined }> {
  const answer = await s3.send({ method, target, ...more });
  const text = await answer.text();
  return { status: answer.status, headers: answer.headers, text, code: textOf(text, 'Code') };
}

const versioning = (inner: string): { body: string } => ({
  body: `<VersioningConfiguration>${inner}</VersioningConfiguration>`,
});
const enabled = versioning('<Status>Enabled</Status>');
const suspended = versioning('<Status>Suspended</Status>');

describe('bucket versioning', () => {
  it('is enabled and suspended, and never without a word what it is', async () => {
    expect((await send('GET', '/bkt?versioning')).text).not.toContain('<Status>');
    for (const [document, status] of [
      [enabled, 'Enabled'],
      [suspended, 'Suspended'],
    ] as const) {
      expect((await send('PUT', '/bkt?versioning', document)).status).toBe(200);
      expect(textOf((await send('GET', '/bkt?versioning')).text, 'Status')).toBe(status);
    }
    const put = async (inner: string) => (await send('PUT', '/bkt?versioning', versioning(inner))).code;
    expect(await put('<Status>enabled</Status>')).toBe('MalformedXML');
    expect(await put('')).toBe('IllegalVersioningConfigurationException');
    expect(await put('<Status>Enabled</Status><MfaDelete>Enabled</MfaDelete>')).toBe('NotImplemented');
    expect(await put('<Status>Enabled</Status><MfaDelete>Disabled</MfaDelete>')).toBeUndefined();
    expect((await send('PUT', '/bkt?versioning', { ...enabled, as: bob })).code).toBe('AccessDenied');
  });

  it('gives versions and delete markers the headers and refusals of S3', async () => {
    await send('PUT', '/bkt?versioning', enabled);
    const put = await send('PUT', '/bkt/k', { body: 'x' });
    const version = put.headers.get('x-amz-version-id') ?? '';
    expect(version).toMatch(/^[0-9a-f]{32}$/);
    const deleted = await send('DELETE', '/bkt/k');
    const marker = deleted.headers.get('x-amz-version-id') ?? '';
    expect(deleted.headers.get('x-amz-delete-marker')).toBe('true');
    const missing = await send('HEAD', '/bkt/k');
    expect([missing.status, missing.headers.get('x-amz-delete-marker')]).toEqual([404, 'true']);
    const never = await send('HEAD', '/bkt/never');
    expect([never.status, never.headers.get('x-amz-delete-marker')]).toEqual([404, 'false']);
    const unreadable = await send('GET', `/bkt/k?versionId=${marker}`);
    expect([unreadable.status, unreadable.code]).toEqual([405, 'MethodNotAllowed']);
    expect(unreadable.headers.get('allow')).toBe('DELETE');
    expect((await send('GET', `/bkt/k?versionId=${version}`)).text).toBe('x');
    const listed = (await send('GET', '/bkt?versions')).text;
    expect(textsOf(listed, 'VersionId')).toEqual([marker, version]);
    expect(listed).toMatch(/<DeleteMarker>.*<\/DeleteMarker><Version>/);
    const body = `<Delete><Object><Key>k</Key><VersionId>${marker}</VersionId></Object></Delete>`;
    const md5 = { 'content-md5': (await import('node:crypto')).hash('md5', body, 'base64') };
    const undone = await send('POST', '/bkt?delete', { body, headers: md5 });
    expect(textOf(undone.text, 'DeleteMarkerVersionId')).toBe(marker);
    expect((await send('HEAD', '/bkt/k')).headers.get('x-amz-version-id')).toBe(version);
  });
});

describe('tagging', () => {
  const tagging = (...tags: [string, string][]): string =>
    `<Tagging><TagSet>${tags.map(([k, v]) => `<Tag><Key>${k}</Key><Value>${v}</Value></Tag>`).join('')}</TagSet></Tagging>`;
  const tagsOf = async (target: string): Promise<[string[], string[]]> => {
    const { text } = await send('GET', `${target}?tagging`);
    return [textsOf(text, 'Key'), textsOf(text, 'Value')];
  };

  it('of an object comes with a header or a document, in order of the keys', async () => {
    await send('PUT', '/bkt/k', { body: 'x', headers: { 'x-amz-tagging': 'z%20z=1&a&m=%C3%A4+b' } });
    expect(await tagsOf('/bkt/k')).toEqual([
      ['a', 'm', 'z z'],
      ['', 'ä b', '1'],
    ]);
    expect((await send('HEAD', '/bkt/k')).headers.get('x-amz-tagging-count')).toBe('3');
    expect((await send('PUT', '/bkt/k?tagging', { body: tagging(['b', '2']) })).status).toBe(200);
    expect(await tagsOf('/bkt/k')).toEqual([['b'], ['2']]);
    expect((await send('DELETE', '/bkt/k?tagging')).status).toBe(204);
    expect(await tagsOf('/bkt/k')).toEqual([[], []]);
    expect((await send('HEAD', '/bkt/k')).headers.has('x-amz-tagging-count')).toBe(false);
    expect((await send('PUT', '/bkt/no?tagging', { body: tagging() })).code).toBe('NoSuchKey');
  });

  it('of a copy is the source’s or a new one', async () => {
    await send('PUT', '/bkt/k', { body: 'x', headers: { 'x-amz-tagging': 'a=1' } });
    const copy = (headers: Record<string, string>) =>
      send('PUT', '/bkt/copy', { headers: { 'x-amz-copy-source': 'bkt/k', ...headers } });
    await copy({});
    expect(await tagsOf('/bkt/copy')).toEqual([['a'], ['1']]);
    await copy({ 'x-amz-tagging-directive': 'REPLACE', 'x-amz-tagging': 'b=2' });
    expect(await tagsOf('/bkt/copy')).toEqual([['b'], ['2']]);
    await copy({ 'x-amz-tagging-directive': 'REPLACE' });
    expect(await tagsOf('/bkt/copy')).toEqual([[], []]);
    expect((await copy({ 'x-amz-tagging-directive': 'replace' })).code).toBe('InvalidArgument');
  });

  it('beyond the limits is refused and changes nothing', async () => {
    await send('PUT', '/bkt/k', { body: 'x', headers: { 'x-amz-tagging': 'a=1' } });
    const many = Array.from({ length: 11 }, (_, i): [string, string] => [`k${i}`, '']);
    const wrong: [string, string][][] = [
      many,
      [['k'.repeat(129), '']],
      [['k', 'v'.repeat(257)]],
      [['', 'v']],
      [['aws:x', 'v']],
      [['k', 'v*']],
      [
        ['k', '1'],
        ['k', '2'],
      ],
    ];
    for (const tags of wrong) {
      expect((await send('PUT', '/bkt/k?tagging', { body: tagging(...tags) })).code).toBe('InvalidTag');
    }
    const malformed = ['<Tagging/>', '<Tagging><TagSet><Tag><Key>k</Key></Tag></TagSet></Tagging>'];
    for (const body of malformed)
      expect((await send('PUT', '/bkt/k?tagging', { body })).code).toBe('MalformedXML');
    const header = async (text: string) =>
      (await send('PUT', '/bkt/k', { body: 'y', headers: { 'x-amz-tagging': text } })).code;
    expect(await header('a=%')).toBe('InvalidArgument');
    expect(await header('a=1&a=2')).toBe('InvalidTag');
    expect(await tagsOf('/bkt/k')).toEqual([['a'], ['1']]);
    expect((await send('GET', '/bkt/k')).text).toBe('x');
    const most = many.slice(1).map(([key]): [string, string] => [key.padEnd(128, 'ä'), 'v'.repeat(256)]);
    expect((await send('PUT', '/bkt/k?tagging', { body: tagging(...most) })).status).toBe(200);
  });

  it('of a bucket is set, read and deleted', async () => {
    expect((await send('GET', '/bkt?tagging')).code).toBe('NoSuchTagSet');
    const body = tagging(['b', '2'], ['a', '1']);
    const md5 = { 'content-md5': (await import('node:crypto')).hash('md5', body, 'base64') };
    expect((await send('PUT', '/bkt?tagging', { body, headers: md5 })).status).toBe(200);
    expect(await tagsOf('/bkt')).toEqual([
      ['a', 'b'],
      ['1', '2'],
    ]);
    expect((await send('DELETE', '/bkt?tagging')).status).toBe(204);
    expect((await send('GET', '/bkt?tagging')).code).toBe('NoSuchTagSet');
  });
});

describe('object lock', () => {
  const configuration = (inner: string): { body: string } => ({
    body: `<ObjectLockConfiguration>${inner}</ObjectLockConfiguration>`,
  });
  const rule = (inner: string): { body: string } =>
    configuration(
      `<ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention>${inner}</DefaultRetention></Rule>`,
    );
  const until = '2140-01-01T00:00:00.000Z';
  const retention = { 'x-amz-object-lock-mode': 'GOVERNANCE', 'x-amz-object-lock-retain-until-date': until };

  beforeEach(async () => {
    const headers = { 'x-amz-bucket-object-lock-enabled': 'true' };
    expect((await send('PUT', '/locked', { headers })).status).toBe(200);
  });

  it('comes with a new bucket or with a versioned one, and keeps versioning enabled', async () => {
    expect(textOf((await send('GET', '/locked?versioning')).text, 'Status')).toBe('Enabled');
    expect(textOf((await send('GET', '/locked?object-lock')).text, 'ObjectLockEnabled')).toBe('Enabled');
    expect((await send('PUT', '/locked?versioning', suspended)).code).toBe('InvalidBucketState');
    expect((await send('GET', '/bkt?object-lock')).code).toBe('ObjectLockConfigurationNotFoundError');
    const days = rule('<Mode>GOVERNANCE</Mode><Days>1</Days>');
    expect((await send('PUT', '/bkt?object-lock', days)).code).toBe('InvalidBucketState');
    await send('PUT', '/bkt?versioning', enabled);
    expect((await send('PUT', '/bkt?object-lock', days)).status).toBe(200);
    const { text } = await send('GET', '/bkt?object-lock');
    expect([textOf(text, 'Mode'), textOf(text, 'Days')]).toEqual(['GOVERNANCE', '1']);
    const wrong = { 'x-amz-bucket-object-lock-enabled': 'yes' };
    expect((await send('PUT', '/other', { headers: wrong })).code).toBe('InvalidArgument');
  });

  it('refuses configurations that are none', async () => {
    const put = async (document: { body: string }) =>
      (await send('PUT', '/locked?object-lock', document)).code;
    const mode = '<Mode>GOVERNANCE</Mode>';
    expect(await put(rule(`${mode}<Days>1</Days><Years>1</Years>`))).toBe('MalformedXML');
    expect(await put(rule(mode))).toBe('MalformedXML');
    expect(await put(rule('<Mode>governance</Mode><Days>1</Days>'))).toBe('MalformedXML');
    expect(await put(rule(`${mode}<Days>0</Days>`))).toBe('InvalidRetentionPeriod');
    expect(await put(rule(`${mode}<Years>-1</Years>`))).toBe('InvalidRetentionPeriod');
    expect(await put(rule(`${mode}<Years>101</Years>`))).toBe('InvalidRetentionPeriod');
    expect(await put(configuration('<ObjectLockEnabled>Disabled</ObjectLockEnabled>'))).toBe('MalformedXML');
    expect(await put(configuration(''))).toBe('MalformedXML');
  });

  it('of an object is told, set by headers and by documents, and keeps it', async () => {
    const headers = { ...retention, 'x-amz-object-lock-legal-hold': 'ON' };
    const put = await send('PUT', '/locked/k', { body: 'x', headers });
    const version = put.headers.get('x-amz-version-id') ?? '';
    const head = await send('HEAD', '/locked/k');
    for (const [name, value] of Object.entries(headers)) expect(head.headers.get(name)).toBe(value);
    expect(textOf((await send('GET', '/locked/k?legal-hold')).text, 'Status')).toBe('ON');
    expect(textOf((await send('GET', '/locked/k?retention')).text, 'RetainUntilDate')).toBe(until);
    const bypass = { 'x-amz-bypass-governance-retention': 'true' };
    const remove = (more: Record<string, string>) =>
      send('DELETE', `/locked/k?versionId=${version}`, { headers: more });
    expect((await remove(bypass)).code).toBe('AccessDenied');
    const off = { body: '<LegalHold><Status>OFF</Status></LegalHold>' };
    expect((await send('PUT', '/locked/k?legal-hold', off)).status).toBe(200);
    expect((await remove({})).code).toBe('AccessDenied');
    const weaker = {
      body: '<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>2139-01-01T00:00:00Z</RetainUntilDate></Retention>',
    };
    expect((await send('PUT', '/locked/k?retention', weaker)).code).toBe('AccessDenied');
    expect((await send('PUT', '/locked/k?retention', { ...weaker, headers: bypass })).status).toBe(200);
    expect((await remove(bypass)).status).toBe(204);
  });

  it('refuses what is no lock, and locks where there is no object lock', async () => {
    const put = async (headers: Record<string, string>, bucket = 'locked') =>
      (await send('PUT', `/${bucket}/k`, { body: 'x', headers })).code;
    expect(await put({ 'x-amz-object-lock-mode': 'GOVERNANCE' })).toBe('InvalidArgument');
    expect(await put({ ...retention, 'x-amz-object-lock-mode': 'governance' })).toBe('InvalidArgument');
    expect(await put({ ...retention, 'x-amz-object-lock-retain-until-date': 'soon' })).toBe(
      'InvalidArgument',
    );
    expect(await put({ ...retention, 'x-amz-object-lock-retain-until-date': '2020-01-01T00:00:00Z' })).toBe(
      'InvalidArgument',
    );
    expect(await put({ 'x-amz-object-lock-legal-hold': 'on' })).toBe('InvalidArgument');
    expect(await put(retention, 'bkt')).toBe('InvalidRequest');
    await send('PUT', '/locked/k', { body: 'x' });
    await send('PUT', '/bkt/k', { body: 'x' });
    expect((await send('GET', '/locked/k?retention')).code).toBe('NoSuchObjectLockConfiguration');
    expect((await send('GET', '/locked/k?legal-hold')).code).toBe('NoSuchObjectLockConfiguration');
    expect((await send('GET', '/bkt/k?retention')).code).toBe('InvalidRequest');
    const wrong = {
      body: '<Retention><Mode>abc</Mode><RetainUntilDate>2140-01-01T00:00:00Z</RetainUntilDate></Retention>',
    };
    expect((await send('PUT', '/locked/k?retention', wrong)).code).toBe('MalformedXML');
    const hold = { body: '<LegalHold><Status>abc</Status></LegalHold>' };
    expect((await send('PUT', '/locked/k?legal-hold', hold)).code).toBe('MalformedXML');
  });
});

describe('a bucket that serves a directory', () => {
  it('answers 501 to versions, locks and tags of objects', async () => {
    expect((await send('PUT', '/tree?versioning', enabled)).status).toBe(501);
    expect((await send('PUT', '/tree/k', { body: 'x', headers: { 'x-amz-tagging': 'a=1' } })).status).toBe(
      501,
    );
    const hold = { 'x-amz-object-lock-legal-hold': 'ON' };
    expect((await send('PUT', '/tree/k', { body: 'x', headers: hold })).status).toBe(501);
    await send('PUT', '/tree/k', { body: 'x' });
    const body = '<Tagging><TagSet></TagSet></Tagging>';
    expect((await send('PUT', '/tree/k?tagging', { body })).status).toBe(501);
    expect((await send('GET', '/tree/k?tagging')).status).toBe(200);
    expect((await send('DELETE', '/tree/k?versionId=0123')).status).toBe(204);
    expect((await send('GET', '/tree/k')).text).toBe('x');
  });
});
