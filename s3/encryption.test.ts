import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Keyring } from '../backend/encryption/keyring.ts';
import type { Engine } from '../backend/engine/engine.ts';
import { openFilesystemBackend } from '../backend/filesystem/filesystem_backend.ts';
import { aliceOwner, createHarness, dropbox, region, textOf, type Harness } from './testing/harness.ts';

const quiet = { debug: nothing, info: nothing, warn: nothing, error: nothing };
const sse = 'x-amz-server-side-encryption';
const customer = `${sse}-customer-`;
const ringText =
  `active = "main"\nkms_default = "main"\n[[keys]]\nid = "main"\nkey = "${'1a'.repeat(32)}"\n` +
  `[[keys]]\nid = "other"\nkey = "${'2b'.repeat(32)}"\n`;

let directory: string;
let backend: Engine;
let harness: Harness;
let plain: Engine;
let bucket = '';
let buckets = 0;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 's3d-sse-'));
  backend = await openFilesystemBackend({
    basePath: join(directory, 'keys'),
    region,
    logger: quiet,
    encryption: { readKeyring: async () => Keyring.parse(ringText, 'test'), atRest: false },
  });
  plain = await openFilesystemBackend({ basePath: join(directory, 'none'), region, logger: quiet });
  harness = createHarness({ backend });
});
afterAll(async () => {
  await backend.close();
  await plain.close();
  await rm(directory, { recursive: true });
});
beforeEach(async () => {
  bucket = `in-${++buckets}`;
  await backend.createBucket({ bucket, owner: aliceOwner, region });
});

function nothing(): void {
  // Tests look at answers.
}

type Headers = Readonly<Record<string, string>>;

function keyHeaders(key: Uint8Array, prefix = customer): Headers {
  return {
    [`${prefix}algorithm`]: 'AES256',
    [`${prefix}key`]: Buffer.from(key).toString('base64'),
    [`${prefix}key-md5`]: createHash('md5').update(key).digest('base64'),
  };
}

const put = (key: string, headers: Headers, body: string | Uint8Array = 'body'): Promise<Response> =>
  harness.send({ method: 'PUT', target: `/${bucket}/${key}`, headers, body });

/** With its body read: what isn't read stays open. */
async function get(key: string, headers: Headers = {}): Promise<Response> {
  const answer = await harness.send({ target: `/${bucket}/${key}`, headers });
  return new Response(await answer.arrayBuffer(), { status: answer.status, headers: answer.headers });
}

async function refusal(answer: Response): Promise<string> {
  return `${answer.status} ${textOf(await answer.text(), 'Code') ?? ''}`;
}

/** Only what tells of encryption. */
function told(answer: Response): Headers {
  return Object.fromEntries([...answer.headers].filter(([name]) => name.startsWith(sse)));
}

async function upload(
  key: string,
  options: { readonly begin: Headers; readonly part: Headers; readonly complete: Headers },
): Promise<{ readonly begun: Response; readonly part: Response; readonly completed: Response }> {
  const target = `/${bucket}/${key}`;
  const begun = await harness.send({ method: 'POST', target: `${target}?uploads`, headers: options.begin });
  const id = textOf(await begun.clone().text(), 'UploadId') ?? '';
  const part = await harness.send({
    method: 'PUT',
    target: `${target}?partNumber=1&uploadId=${id}`,
    headers: options.part,
    body: 'part',
  });
  const completed = await harness.send({
    method: 'POST',
    target: `${target}?uploadId=${id}`,
    headers: options.complete,
    body: `<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>${part.headers.get('etag') ?? ''}</ETag></Part></CompleteMultipartUpload>`,
  });
  return { begun, part, completed };
}

describe('SSE-S3', () => {
  it('is told by every answer about the object', async () => {
    const written = await put('a', { [sse]: 'AES256' });
    expect(told(written)).toEqual({ [sse]: 'AES256' });
    expect(written.headers.get('etag')).toBe(`"${createHash('md5').update('body').digest('hex')}"`);
    const read = await get('a');
    expect(told(read)).toEqual({ [sse]: 'AES256' });
    expect(await read.text()).toBe('body');
    expect(told(await get('a', { range: 'bytes=1-2' }))).toEqual({ [sse]: 'AES256' });
    const head = await harness.send({ method: 'HEAD', target: `/${bucket}/a` });
    expect(told(head)).toEqual({ [sse]: 'AES256' });
  });

  it('is not told where nobody asked for it', async () => {
    expect(told(await put('a', {}))).toEqual({});
    expect(told(await get('a'))).toEqual({});
  });

  it('holds for uploads', async () => {
    const { begun, part, completed } = await upload('m', {
      begin: { [sse]: 'AES256' },
      part: {},
      complete: {},
    });
    for (const answer of [begun, part, completed, await get('m')])
      expect(told(answer)).toEqual({ [sse]: 'AES256' });
  });

  it('can not be asked of a read', async () => {
    await put('a', { [sse]: 'AES256' });
    expect(await refusal(await get('a', { [sse]: 'AES256' }))).toBe('400 InvalidArgument');
    const head = await harness.send({ method: 'HEAD', target: `/${bucket}/a`, headers: { [sse]: 'AES256' } });
    expect(head.status).toBe(400);
  });

  it('is refused where no keys are configured, and nothing is stored', async () => {
    const keyless = createHarness({ backend: plain });
    await plain.createBucket({ bucket, owner: aliceOwner, region });
    const target = `/${bucket}/a`;
    for (const headers of [{ [sse]: 'AES256' }, { [sse]: 'aws:kms', [`${sse}-aws-kms-key-id`]: 'main' }]) {
      const written = await keyless.send({ method: 'PUT', target, headers, body: 'x' });
      expect(await refusal(written)).toBe('501 NotImplemented');
    }
    expect((await keyless.send({ target })).status).toBe(404);
    const key = keyHeaders(randomBytes(32));
    expect((await keyless.send({ method: 'PUT', target, headers: key, body: 'x' })).status).toBe(200);
    expect(await (await keyless.send({ target, headers: key })).text()).toBe('x');
  });
});

describe('SSE-KMS', () => {
  const kms = { [sse]: 'aws:kms', [`${sse}-aws-kms-key-id`]: 'other' };

  it('is told with its key', async () => {
    expect(told(await put('a', kms))).toEqual(kms);
    const read = await get('a');
    expect(told(read)).toEqual(kms);
    expect(await read.text()).toBe('body');
    expect(read.headers.get('etag')).toMatch(/^"[0-9a-f]{32}"$/);
    expect(read.headers.get('etag')).not.toBe(`"${createHash('md5').update('body').digest('hex')}"`);
  });

  it('takes a context, a bucket key flag, an ARN and the default key', async () => {
    const context = Buffer.from('{"b":"2","a":"1"}').toString('base64');
    const all = { ...kms, [`${sse}-context`]: context, [`${sse}-bucket-key-enabled`]: 'true' };
    expect(told(await put('a', all))).toEqual({ ...kms, [`${sse}-bucket-key-enabled`]: 'true' });
    expect(await (await get('a')).text()).toBe('body');
    const arn = 'arn:aws:kms:eu-1:123456789012:key/other';
    expect(told(await put('b', { ...kms, [`${sse}-aws-kms-key-id`]: arn }))[`${sse}-aws-kms-key-id`]).toBe(
      arn,
    );
    expect(told(await put('c', { [sse]: 'aws:kms' }))[`${sse}-aws-kms-key-id`]).toBe('main');
  });

  it.each([
    [{ ...kms, [`${sse}-aws-kms-key-id`]: 'none' }, '400 KMS.NotFoundException'],
    [{ [`${sse}-aws-kms-key-id`]: 'other' }, '400 InvalidArgument'],
    [{ [sse]: 'AES256', [`${sse}-aws-kms-key-id`]: 'other' }, '400 InvalidArgument'],
    [{ [sse]: 'aes:kms' }, '400 InvalidArgument'],
    [{ [sse]: 'aws:kms:dsse' }, '501 NotImplemented'],
    [{ ...kms, [`${sse}-context`]: 'e30x' }, '400 InvalidArgument'],
    [{ ...kms, [`${sse}-context`]: Buffer.from('{"a":1}').toString('base64') }, '400 InvalidArgument'],
    [{ ...kms, [`${sse}-bucket-key-enabled`]: 'maybe' }, '400 InvalidArgument'],
    [{ [sse]: 'AES256', ...keyHeaders(new Uint8Array(32)) }, '400 InvalidArgument'],
    [{ ...kms, ...keyHeaders(new Uint8Array(32)) }, '400 InvalidArgument'],
  ])('is refused where it makes no sense: %j', async (headers, expected) => {
    expect(await refusal(await put('a', headers as Headers))).toBe(expected);
    expect((await get('a')).status).toBe(404);
  });

  it('holds for uploads, whatever their parts say', async () => {
    const other = { ...kms, [`${sse}-aws-kms-key-id`]: 'none' };
    const { begun, part, completed } = await upload('m', { begin: kms, part: other, complete: {} });
    for (const answer of [begun, part, completed, await get('m')]) expect(told(answer)).toEqual(kms);
  });

  it('refuses those who may not write before it looks at the headers', async () => {
    const others = `not-${bucket}`;
    await backend.createBucket({ bucket: others, owner: aliceOwner, region });
    const request = { method: 'PUT', target: `/${others}/a`, headers: { [sse]: 'AES192' }, body: 'x' };
    expect(await refusal(await harness.send({ ...request, as: dropbox }))).toBe('403 AccessDenied');
    expect(await refusal(await harness.send(request))).toBe('400 InvalidArgument');
  });
});

describe('SSE-C', () => {
  const key = randomBytes(32);
  const other = randomBytes(32);
  const mine = keyHeaders(key);
  const toldOfMine = {
    [`${customer}algorithm`]: 'AES256',
    [`${customer}key-md5`]: createHash('md5').update(key).digest('base64'),
  };

  it('gives the object back for the same key alone', async () => {
    const content = randomBytes(300_000);
    const written = await put('a', mine, content);
    expect(told(written)).toEqual(toldOfMine);
    expect(written.headers.get('etag')).not.toBe(`"${createHash('md5').update(content).digest('hex')}"`);
    const read = await get('a', mine);
    expect(told(read)).toEqual(toldOfMine);
    expect(read.headers.get('etag')).toBe(written.headers.get('etag'));
    expect(Buffer.from(await read.arrayBuffer()).equals(content)).toBe(true);
    const part = await get('a', { ...mine, range: 'bytes=131071-131073' });
    expect(Buffer.from(await part.arrayBuffer())).toEqual(content.subarray(131_071, 131_074));
    for (const headers of [{}, keyHeaders(other)]) {
      expect(await refusal(await get('a', headers))).toBe('400 InvalidRequest');
      const head = await harness.send({ method: 'HEAD', target: `/${bucket}/a`, headers });
      expect(head.status).toBe(400);
      const attributes = await harness.send({
        target: `/${bucket}/a?attributes`,
        headers: { ...headers, 'x-amz-object-attributes': 'ETag,ObjectSize' },
      });
      expect(await refusal(attributes)).toBe('400 InvalidRequest');
    }
    const attributes = await harness.send({
      target: `/${bucket}/a?attributes`,
      headers: { ...mine, 'x-amz-object-attributes': 'ETag,ObjectSize' },
    });
    expect(textOf(await attributes.text(), 'ObjectSize')).toBe('300000');
  });

  it('refuses a key for an object that has none', async () => {
    await put('a', {});
    expect(await refusal(await get('a', mine))).toBe('400 InvalidRequest');
    await put('b', { [sse]: 'AES256' });
    expect(await refusal(await get('b', mine))).toBe('400 InvalidRequest');
  });

  const without = (name: string): Headers =>
    Object.fromEntries(Object.entries(mine).filter(([header]) => header !== `${customer}${name}`));
  it.each([
    ['no algorithm', without('algorithm'), '400 InvalidArgument'],
    ['no key', without('key'), '400 InvalidArgument'],
    ['no MD5', without('key-md5'), '400 InvalidArgument'],
    ['only an algorithm', { [`${customer}algorithm`]: 'AES256' }, '400 InvalidArgument'],
    [
      'another algorithm',
      { ...mine, [`${customer}algorithm`]: 'AES192' },
      '400 InvalidEncryptionAlgorithmError',
    ],
    ['a wrong MD5', { ...mine, [`${customer}key-md5`]: 'AAAAAAAAAAAAAAAAAAAAAA==' }, '400 InvalidArgument'],
    ['a short key', keyHeaders(key.subarray(1)), '400 InvalidArgument'],
    ['a key that is not base64', { ...mine, [`${customer}key`]: '!'.repeat(44) }, '400 InvalidArgument'],
  ])('refuses %s, and never repeats the key', async (_, headers, expected) => {
    const answer = await put('a', headers);
    const text = await answer.clone().text();
    expect(text).not.toContain(key.toString('base64').slice(0, 20));
    expect(await refusal(answer)).toBe(expected);
    expect((await get('a')).status).toBe(404);
  });

  it('is refused over plain HTTP unless the operator says that it is safe', async () => {
    const open = async (options: { readonly customerKeysOverHttp?: boolean }): Promise<Response> => {
      const { app } = createHarness({ backend, ...options });
      const { signedHeaders } = await import('./testing/harness.ts');
      const target = `/${bucket}/http`;
      const request = { method: 'PUT', target, headers: mine, body: 'x' };
      return app.request(
        'http://s3.test/',
        { method: 'PUT', headers: signedHeaders(request), body: 'x' },
        { target },
      );
    };
    expect(await refusal(await open({}))).toBe('400 InvalidRequest');
    expect((await open({ customerKeysOverHttp: true })).status).toBe(200);
  });

  it('asks each part and the completion of an upload for its key', async () => {
    const all = await upload('m', { begin: mine, part: mine, complete: mine });
    for (const answer of [all.begun, all.part, all.completed]) expect(told(answer)).toEqual(toldOfMine);
    expect(await (await get('m', mine)).text()).toBe('part');
    expect(await refusal(await get('m'))).toBe('400 InvalidRequest');
    expect(await refusal(await get('m', keyHeaders(other)))).toBe('400 InvalidRequest');
    for (const part of [{}, keyHeaders(other)]) {
      expect(await refusal((await upload('n', { begin: mine, part, complete: mine })).part)).toBe(
        '400 InvalidRequest',
      );
    }
    for (const complete of [{}, keyHeaders(other)]) {
      const { completed } = await upload('n', { begin: mine, part: mine, complete });
      expect(await refusal(completed)).toBe('400 InvalidRequest');
    }
    const uninvited = await upload('n', { begin: {}, part: mine, complete: {} });
    expect(await refusal(uninvited.part)).toBe('400 InvalidRequest');
    expect((await get('n')).status).toBe(404);
  });

  it('gives a part that is sent again the ETag that it had', async () => {
    const target = `/${bucket}/again`;
    const begun = await harness.send({ method: 'POST', target: `${target}?uploads`, headers: mine });
    const id = textOf(await begun.text(), 'UploadId') ?? '';
    const request = {
      method: 'PUT',
      target: `${target}?partNumber=1&uploadId=${id}`,
      headers: mine,
      body: 'part',
    };
    const first = (await harness.send(request)).headers.get('etag');
    expect((await harness.send(request)).headers.get('etag')).toBe(first);
    expect((await put('other', mine, 'part')).headers.get('etag')).not.toBe(first);
  });

  it('leaves nothing of the key behind in logs', async () => {
    await put('a', mine);
    await get('a', keyHeaders(other));
    const log = JSON.stringify(harness.log);
    for (const secret of [key, other]) {
      expect(log).not.toContain(secret.toString('base64').slice(0, 20));
      expect(log).not.toContain(secret.toString('hex').slice(0, 20));
    }
  });
});

describe('copies', () => {
  const from = randomBytes(32);
  const to = randomBytes(32);
  const kms = { [sse]: 'aws:kms', [`${sse}-aws-kms-key-id`]: 'other' };
  const sourcePrefix = 'x-amz-copy-source-server-side-encryption-customer-';
  const sources: Readonly<Record<string, { readonly put: Headers; readonly copy: Headers }>> = {
    plain: { put: {}, copy: {} },
    s3: { put: { [sse]: 'AES256' }, copy: {} },
    kms: { put: kms, copy: {} },
    customer: { put: keyHeaders(from), copy: keyHeaders(from, sourcePrefix) },
  };
  const targets: Readonly<
    Record<string, { readonly copy: Headers; readonly get: Headers; readonly told: RegExp }>
  > = {
    plain: { copy: {}, get: {}, told: /^\{\}$/ },
    s3: { copy: { [sse]: 'AES256' }, get: {}, told: /AES256/ },
    kms: { copy: kms, get: {}, told: /aws:kms.*other/ },
    customer: { copy: keyHeaders(to), get: keyHeaders(to), told: /customer-algorithm":"AES256/ },
  };
  const all = Object.keys(sources).flatMap((source) =>
    Object.keys(targets).map((target) => [source, target] as const),
  );

  it.each(all)('of %s become %s', async (source, target) => {
    const is = sources[source];
    const becomes = targets[target];
    if (is === undefined || becomes === undefined) throw new Error('no such way');
    await put('source', is.put, 'the source');
    const copied = await put(
      'copy',
      { 'x-amz-copy-source': `/${bucket}/source`, ...is.copy, ...becomes.copy },
      '',
    );
    expect(copied.status).toBe(200);
    expect(JSON.stringify(told(copied))).toMatch(becomes.told);
    const read = await get('copy', becomes.get);
    expect(JSON.stringify(told(read))).toMatch(becomes.told);
    expect(await read.text()).toBe('the source');
  });

  it("need the source's key", async () => {
    await put('source', keyHeaders(from));
    for (const headers of [{}, keyHeaders(to, sourcePrefix), keyHeaders(from)]) {
      const copied = await put('copy', { 'x-amz-copy-source': `/${bucket}/source`, ...headers }, '');
      expect(await refusal(copied)).toBe('400 InvalidRequest');
    }
    expect((await get('copy')).status).toBe(404);
  });

  it('onto the object itself may change how it is encrypted', async () => {
    await put('a', {});
    const onto = { 'x-amz-copy-source': `/${bucket}/a` };
    expect(await refusal(await put('a', onto, ''))).toBe('400 InvalidRequest');
    expect((await put('a', { ...onto, [sse]: 'AES256' }, '')).status).toBe(200);
    expect(told(await get('a'))).toEqual({ [sse]: 'AES256' });
  });

  it('of parts take and ask for keys as parts do', async () => {
    await put('source', keyHeaders(from), 'the source');
    const target = `/${bucket}/m`;
    const begun = await harness.send({
      method: 'POST',
      target: `${target}?uploads`,
      headers: keyHeaders(to),
    });
    const id = textOf(await begun.text(), 'UploadId') ?? '';
    const copy = (headers: Headers): Promise<Response> =>
      harness.send({
        method: 'PUT',
        target: `${target}?partNumber=1&uploadId=${id}`,
        headers: { 'x-amz-copy-source': `/${bucket}/source`, ...headers },
      });
    const source = keyHeaders(from, sourcePrefix);
    for (const headers of [source, keyHeaders(to), { ...source, ...keyHeaders(from) }]) {
      expect(await refusal(await copy(headers))).toBe('400 InvalidRequest');
    }
    expect((await copy({ ...source, ...keyHeaders(to) })).status).toBe(200);
  });
});

describe("a bucket's encryption", () => {
  const configuration = (inner: string): string =>
    `<ServerSideEncryptionConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Rule>${inner}</Rule></ServerSideEncryptionConfiguration>`;
  const byDefault = (inner: string): string =>
    `<ApplyServerSideEncryptionByDefault>${inner}</ApplyServerSideEncryptionByDefault>`;
  const set = (body: string): Promise<Response> =>
    harness.send({
      method: 'PUT',
      target: `/${bucket}?encryption`,
      body,
      headers: { 'content-md5': createHash('md5').update(body).digest('base64') },
    });

  it('is none at first, can be set, read and deleted', async () => {
    const target = `/${bucket}?encryption`;
    expect(await refusal(await harness.send({ target }))).toBe(
      '404 ServerSideEncryptionConfigurationNotFoundError',
    );
    expect((await harness.send({ method: 'DELETE', target })).status).toBe(204);
    expect((await set(configuration(byDefault('<SSEAlgorithm>AES256</SSEAlgorithm>')))).status).toBe(200);
    expect(textOf(await (await harness.send({ target })).text(), 'SSEAlgorithm')).toBe('AES256');
    expect(told(await put('a', {}))).toEqual({ [sse]: 'AES256' });
    expect(told(await get('a'))).toEqual({ [sse]: 'AES256' });
    const { begun, completed } = await upload('m', { begin: {}, part: {}, complete: {} });
    for (const answer of [begun, completed]) expect(told(answer)).toEqual({ [sse]: 'AES256' });
    const copied = await put('c', { 'x-amz-copy-source': `/${bucket}/a` }, '');
    expect(told(copied)).toEqual({ [sse]: 'AES256' });
    expect((await harness.send({ method: 'DELETE', target })).status).toBe(204);
    expect(told(await put('a', {}))).toEqual({});
    expect(told(await get('m'))).toEqual({ [sse]: 'AES256' });
  });

  it('may name a key, which what is asked for comes before', async () => {
    const kms = '<SSEAlgorithm>aws:kms</SSEAlgorithm><KMSMasterKeyID>other</KMSMasterKeyID>';
    await set(configuration(`${byDefault(kms)}<BucketKeyEnabled>true</BucketKeyEnabled>`));
    const text = await (await harness.send({ target: `/${bucket}?encryption` })).text();
    expect(textOf(text, 'KMSMasterKeyID')).toBe('other');
    expect(textOf(text, 'BucketKeyEnabled')).toBe('true');
    expect(told(await put('a', {}))).toEqual({
      [sse]: 'aws:kms',
      [`${sse}-aws-kms-key-id`]: 'other',
      [`${sse}-bucket-key-enabled`]: 'true',
    });
    expect(told(await put('a', { [sse]: 'AES256' }))).toEqual({ [sse]: 'AES256' });
    expect(Object.keys(told(await put('a', keyHeaders(randomBytes(32)))))).toContain(`${customer}algorithm`);
  });

  it.each([
    ['', '400 MalformedXML'],
    [byDefault(''), '400 MalformedXML'],
    [byDefault('<SSEAlgorithm>AES128</SSEAlgorithm>'), '400 MalformedXML'],
    [byDefault('<SSEAlgorithm>aws:kms:dsse</SSEAlgorithm>'), '501 NotImplemented'],
    [
      byDefault('<SSEAlgorithm>AES256</SSEAlgorithm><KMSMasterKeyID>k</KMSMasterKeyID>'),
      '400 InvalidArgument',
    ],
    [`${byDefault('<SSEAlgorithm>AES256</SSEAlgorithm>')}<Other/>`, '501 NotImplemented'],
  ])('is refused where it makes no sense: %j', async (inner, expected) => {
    expect(await refusal(await set(configuration(inner)))).toBe(expected);
  });
});
