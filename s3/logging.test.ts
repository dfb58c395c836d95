import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BackendError } from '../backend/errors.ts';
import { AccessLog, type AccessLogOptions } from './access_log/access_log.ts';
import { MemoryBackend } from './testing/memory_backend.ts';
import { alice, aliceOwner, bob, createHarness, type Harness, textOf } from './testing/harness.ts';

let s3: Harness;
let log: AccessLog;
let warnings: { readonly fields: Readonly<Record<string, unknown>>; readonly message: string }[];

function open(options: Partial<AccessLogOptions> = {}): void {
  warnings = [];
  const memory = new MemoryBackend();
  const warn = (fields: object, message: string): void => {
    warnings.push({ fields: { ...fields }, message });
  };
  log = new AccessLog({
    backend: memory,
    clock: () => Date.UTC(2026, 1, 6, 0, 0, 38),
    logger: { info: () => undefined, warn, error: warn },
    randomBytes,
    intervalMs: 3_600_000,
    ...options,
  });
  s3 = createHarness({ memory, accessLog: log });
  for (const name of ['source', 'logs', 'other']) s3.backend.addBucket(name, { owner: aliceOwner });
  s3.backend.addBucket('bobs', { owner: { id: bob.accountId, displayName: 'bob' } });
}

beforeEach(async () => {
  open();
  await letDeliver('logs');
});
afterEach(() => log.close());

/** By the policy that S3's documentation gives. */
async function letDeliver(bucket: string, change: object = {}, as = alice): Promise<void> {
  const statement = {
    Effect: 'Allow',
    Principal: { Service: 'logging.s3.amazonaws.com' },
    Action: 's3:PutObject',
    Resource: `arn:aws:s3:::${bucket}/log/*`,
    Condition: {
      ArnLike: { 'aws:SourceArn': 'arn:aws:s3:::*' },
      StringEquals: { 'aws:SourceAccount': alice.accountId },
    },
    ...change,
  };
  const body = JSON.stringify({ Version: '2012-10-17', Statement: [statement] });
  const answer = await s3.send({ method: 'PUT', target: `/${bucket}?policy`, body, as });
  expect(answer.status).toBe(204);
}

async function configure(bucket: string, target: string, more = ''): Promise<string> {
  const body = `<BucketLoggingStatus><LoggingEnabled><TargetBucket>${target}</TargetBucket><TargetPrefix>log/</TargetPrefix>${more}</LoggingEnabled></BucketLoggingStatus>`;
  const response = await s3.send({ method: 'PUT', target: `/${bucket}?logging`, body });
  return `${response.status} ${textOf(await response.text(), 'Code') ?? ''}`;
}

function logged(bucket = 'logs'): [string, string][] {
  const objects = s3.backend.buckets.get(bucket)?.objects ?? new Map<string, { bytes: Buffer }>();
  return [...objects]
    .filter(([key]) => key.startsWith('log/'))
    .map(([key, { bytes }]) => [key, bytes.toString('utf8')]);
}

function lines(): string[] {
  return logged().flatMap(([, text]) => text.trimEnd().split('\n'));
}

function linesAbout(operation: string): string[] {
  return lines().filter((line) => line.split(' ')[7] === operation);
}

describe('the logging of a bucket', () => {
  it('is set, given back and ended by its owner', async () => {
    const get = async (): Promise<string> => (await s3.send({ target: '/source?logging' })).text();
    expect(await get()).not.toContain('LoggingEnabled');
    expect(await configure('source', 'logs')).toBe('200 ');
    expect(await get()).toContain('<TargetBucket>logs</TargetBucket><TargetPrefix>log/</TargetPrefix>');
    expect((await s3.send({ target: '/source?logging', as: bob })).status).toBe(403);
    const off = { method: 'PUT', target: '/source?logging', body: '<BucketLoggingStatus/>' };
    expect((await s3.send({ ...off, as: bob })).status).toBe(403);
    expect((await s3.send(off)).status).toBe(200);
    expect(await get()).not.toContain('LoggingEnabled');
  });

  it('refuses what it would not do', async () => {
    const format = (inner: string): string => `<TargetObjectKeyFormat>${inner}</TargetObjectKeyFormat>`;
    expect(await configure('source', 'logs', '<TargetGrants><Grant/></TargetGrants>')).toBe(
      '501 NotImplemented',
    );
    expect(await configure('source', 'logs', '<LoggingType>Journal</LoggingType>')).toBe('400 MalformedXML');
    expect(await configure('source', 'logs', format(''))).toBe('400 MalformedXML');
    expect(await configure('source', 'logs', format('<SimplePrefix/><PartitionedPrefix/>'))).toBe(
      '400 MalformedXML',
    );
    const when = '<PartitionedPrefix><PartitionDateSource>Never</PartitionDateSource></PartitionedPrefix>';
    expect(await configure('source', 'logs', format(when))).toBe('400 MalformedXML');
    expect(await (await s3.send({ target: '/source?logging' })).text()).not.toContain('LoggingEnabled');
  });

  it('goes to a bucket of the same account that takes logs', async () => {
    const refused = '400 InvalidTargetBucketForLogging';
    expect(await configure('source', 'nowhere')).toBe(refused);
    await letDeliver('bobs', {}, bob);
    expect(await configure('source', 'bobs')).toBe(refused);
    expect(await configure('source', 'other')).toBe(refused);
    await letDeliver('other', { Principal: '*', Condition: { Bool: { 'aws:SecureTransport': 'true' } } });
    expect(await configure('source', 'other')).toBe(refused);
    await letDeliver('other', { Action: 's3:GetObject' });
    expect(await configure('source', 'other')).toBe(refused);
    await letDeliver('other', { Condition: { ArnLike: { 'aws:SourceArn': 'arn:aws:s3:::another' } } });
    expect(await configure('source', 'other')).toBe(refused);
    await letDeliver('other', { Effect: 'Deny', Condition: {} });
    const acl = { 'x-amz-acl': 'log-delivery-write' };
    await s3.send({ method: 'PUT', target: '/other?acl', headers: acl });
    expect(await configure('source', 'other')).toBe(refused);
    await s3.send({ method: 'DELETE', target: '/other?policy' });
    expect(await configure('source', 'other')).toBe('200 ');
    await letDeliver('source');
    expect(await configure('source', 'source')).toBe('200 ');
  });

  it('tells every request in S3’s format, some time later', async () => {
    await configure('source', 'logs');
    const headers = { 'user-agent': 'a "b"\u2028é' };
    await s3.send({ method: 'PUT', target: '/source/a%20b', body: 'hello', headers });
    await s3.send({ target: '/source/missing?versionId=v', as: null });
    await s3.send({ target: '/source/k?X-Amz-Signature=abcdef&x=1', as: null });
    await s3.send({ target: '/source?prefix=&list-type=2' });
    await s3.send({ target: '/other/k' });
    expect(logged()).toEqual([]);
    await log.close();
    const [entry, ...more] = logged();
    expect(more).toEqual([]);
    expect(entry?.[0]).toMatch(/^log\/2026-02-06-00-00-38-[0-9A-F]{16}$/);
    expect(linesAbout('REST.PUT.OBJECT')).toEqual([
      expect.stringMatching(
        /^111111111111 source \[06\/Feb\/2026:00:00:38 \+0000\] - 111111111111 \S+ REST\.PUT\.OBJECT a%20b "PUT \/source\/a%20b HTTP\/1\.1" 200 - - 5 \d+ - "-" "a %22b%22%E2%80%A8é" - \S+ SigV4 - AuthHeader s3\.test - - -$/,
      ),
    ]);
    const get = lines().find((line) => line.includes('missing')) ?? '';
    expect(get).toMatch(/ - \S+ REST\.GET\.OBJECT missing "GET \S+ HTTP\/1\.1" 403 AccessDenied /);
    expect(linesAbout('REST.GET.BUCKET')).toHaveLength(1);
    expect(entry?.[1]).not.toContain('abcdef');
    expect(entry?.[1]).not.toContain(' other ');
  });

  it('tells of requests that were refused before their bucket was looked at', async () => {
    await configure('source', 'logs');
    await s3.send({ target: '/source/k', as: { ...alice, secretAccessKey: 'wrong' } });
    await log.close();
    expect(linesAbout('REST.GET.OBJECT')).toEqual([
      expect.stringMatching(/ - - \S+ REST\.GET\.OBJECT k .* 403 SignatureDoesNotMatch /),
    ]);
  });

  it('tells what only an ACL allowed', async () => {
    await configure('source', 'logs');
    await s3.send({ method: 'PUT', target: '/source?acl', headers: { 'x-amz-acl': 'public-read' } });
    await s3.send({ target: '/source', as: bob });
    await s3.send({ target: '/source' });
    await log.close();
    expect(linesAbout('REST.GET.BUCKET').map((line) => line.split(' ').at(-1))).toEqual(['Yes', '-']);
  });

  it('tells the source of a copy that it was read, and each key of a long deletion', async () => {
    await configure('source', 'logs');
    await s3.send({ method: 'PUT', target: '/source/k', body: 'hello' });
    const headers = { 'x-amz-copy-source': '/source/k' };
    expect((await s3.send({ method: 'PUT', target: '/other/copy', headers })).status).toBe(200);
    const body = '<Delete><Object><Key>k</Key></Object><Object><Key>k 2</Key></Object></Delete>';
    const sum = { 'x-amz-checksum-sha256': await sha256(body) };
    expect((await s3.send({ method: 'POST', target: '/source?delete', body, headers: sum })).status).toBe(
      200,
    );
    await log.close();
    expect(linesAbout('REST.COPY.OBJECT_GET')).toEqual([
      expect.stringMatching(/ REST\.COPY\.OBJECT_GET k "-" 200 /),
    ]);
    expect(linesAbout('REST.POST.MULTI_OBJECT_DELETE')).toHaveLength(1);
    expect(linesAbout('BATCH.DELETE.OBJECT').map((line) => line.split(' ')[8])).toEqual(['k', 'k%202']);
  });

  it('cuts records into objects and holds no more than its bounds', async () => {
    open({ objectBytes: 400 });
    await letDeliver('logs');
    await configure('source', 'logs');
    for (let i = 0; i < 6; i++) await s3.send({ target: '/source/k' });
    await log.close();
    expect(logged().length).toBeGreaterThan(2);
    open({ maxBytes: 800 });
    await letDeliver('logs');
    await configure('source', 'logs');
    for (let i = 0; i < 6; i++) await s3.send({ target: '/source/k' });
    await log.close();
    expect(lines().length).toBeGreaterThan(0);
    expect(lines().length).toBeLessThan(4);
    expect(warnings.map(({ message }) => message)).toEqual(['access records were dropped']);
  });

  it('puts records under the day of their event or of their delivery', async () => {
    for (const source of ['DeliveryTime', 'EventTime']) {
      let nowMs = Date.UTC(2026, 1, 6, 23, 59, 59);
      open({ clock: () => nowMs });
      await letDeliver('logs');
      const partition = `<PartitionedPrefix><PartitionDateSource>${source}</PartitionDateSource></PartitionedPrefix>`;
      await configure('source', 'logs', `<TargetObjectKeyFormat>${partition}</TargetObjectKeyFormat>`);
      expect(await (await s3.send({ target: '/source?logging' })).text()).toContain(partition);
      nowMs += 2_000;
      await log.close();
      const day =
        source === 'EventTime' ? '2026/02/06/2026-02-06-00-00-00-' : '2026/02/07/2026-02-07-00-00-01-';
      expect(logged().map(([key]) => key)).toEqual([
        expect.stringContaining(`log/111111111111/ap-southeast-2/source/${day}`),
      ]);
    }
  });

  it('is delivered once the first record has waited for the interval, and again where the store is away', async () => {
    open({ intervalMs: 20 });
    await letDeliver('logs');
    await configure('source', 'logs');
    let refusals = 1;
    const put = s3.backend.putObject.bind(s3.backend);
    s3.backend.putObject = (request) => {
      if (request.bucket !== 'logs' || refusals-- <= 0) return put(request);
      return Promise.reject(new BackendError('ServiceUnavailable', 'away'));
    };
    await s3.send({ target: '/source/k' });
    await expect.poll(() => linesAbout('REST.GET.OBJECT').length, { timeout: 10_000 }).toBe(1);
    expect(warnings.map(({ fields }) => fields['reason'])).toEqual(['away']);
  });

  it('asks the target for leave at each delivery', async () => {
    await configure('source', 'logs');
    await s3.send({ target: '/source/k' });
    await s3.send({ method: 'DELETE', target: '/logs?policy' });
    await log.close();
    expect(logged()).toEqual([]);
    expect(warnings[0]?.message).toBe('access records could not be delivered');
  });
});

async function sha256(text: string): Promise<string> {
  return Buffer.from(await crypto.subtle.digest('SHA-256', Buffer.from(text))).toString('base64');
}
