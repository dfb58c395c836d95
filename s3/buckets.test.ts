import { describe, expect, it } from 'vitest';
import {
  alice,
  aliceOwner,
  bob,
  createHarness,
  dropbox,
  type Harness,
  textOf,
  textsOf,
} from './testing/harness.ts';

function harness(options: Parameters<typeof createHarness>[0] = {}): Harness {
  const s3 = createHarness(options);
  s3.backend.addBucket('b', { owner: aliceOwner });
  s3.backend.addBucket('in-tray', { owner: aliceOwner });
  s3.backend.addBucket('open', { owner: aliceOwner, public: true });
  s3.backend.addBucket('bobs', { owner: { id: bob.accountId, displayName: 'bob' } });
  return s3;
}

async function errorOf(response: Response): Promise<string> {
  return `${response.status} ${textOf(await response.text(), 'Code') ?? ''}`;
}

describe('buckets', () => {
  it('of the caller are listed, others not', async () => {
    const s3 = harness();
    const xml = await (await s3.send({ target: '/' })).text();
    expect(textsOf(xml, 'Name')).toEqual(['b', 'in-tray', 'open']);
    expect(xml).toContain('<Owner><ID>111111111111</ID><DisplayName>alice</DisplayName></Owner>');
    expect(textsOf(await (await s3.send({ target: '/', as: bob })).text(), 'Name')).toEqual(['bobs']);
    expect(await errorOf(await s3.send({ target: '/', as: null }))).toBe('403 AccessDenied');
    expect(await errorOf(await s3.send({ target: '/', as: dropbox }))).toBe('403 AccessDenied');
    expect(await errorOf(await s3.send({ target: '/?max-buckets=0' }))).toBe('400 InvalidArgument');
  });

  it('are created in this region or not at all', async () => {
    const s3 = harness();
    const create = async (name: string, region?: string): Promise<Response> =>
      s3.send({
        method: 'PUT',
        target: `/${name}`,
        ...(region === undefined
          ? {}
          : {
              body: `<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><LocationConstraint>${region}</LocationConstraint></CreateBucketConfiguration>`,
            }),
      });
    const response = await create('new', 'ap-southeast-2');
    expect([response.status, response.headers.get('location')]).toEqual([200, '/new']);
    expect((await create('new-too')).status).toBe(200);
    expect(await errorOf(await create('other', 'eu-west-1'))).toBe('400 IllegalLocationConstraintException');
    expect(await errorOf(await s3.send({ method: 'PUT', target: '/other', body: '<x' }))).toBe(
      '400 MalformedXML',
    );
    expect(await errorOf(await create('bobs'))).toBe('409 BucketAlreadyExists');
    expect(await errorOf(await s3.send({ method: 'PUT', target: '/n', as: null }))).toBe('403 AccessDenied');
    expect(await errorOf(await s3.send({ method: 'PUT', target: '/in-2', as: dropbox }))).toBe(
      '403 AccessDenied',
    );
  });

  it('of one’s own can be created again in us-east-1 only', async () => {
    const s3 = harness();
    expect(await errorOf(await s3.send({ method: 'PUT', target: '/b' }))).toBe('409 BucketAlreadyOwnedByYou');
    const oldest = harness({ region: 'us-east-1' });
    expect((await oldest.send({ method: 'PUT', target: '/b', region: 'us-east-1' })).status).toBe(200);
    const others = await oldest.send({ method: 'PUT', target: '/bobs', region: 'us-east-1' });
    expect(await errorOf(others)).toBe('409 BucketAlreadyExists');
  });

  it('are asked for their location and versioning first', async () => {
    const s3 = harness();
    expect(textOf(await (await s3.send({ target: '/b?location' })).text(), 'nothing')).toBe(undefined);
    expect(await (await s3.send({ target: '/b?location' })).text()).toContain(
      '>ap-southeast-2</LocationConstraint>',
    );
    const versioning = await s3.send({ target: '/b?versioning' });
    expect(await versioning.text()).toContain(
      '<VersioningConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"></VersioningConfiguration>',
    );
    const head = await s3.send({ method: 'HEAD', target: '/b' });
    expect([head.status, head.headers.get('x-amz-bucket-region')]).toEqual([200, 'ap-southeast-2']);
  });

  it('answer what S3 answers for configuration that was never set, and refuse what is no document', async () => {
    const s3 = harness();
    const expected: Record<string, string> = {
      policy: 'NoSuchBucketPolicy',
      cors: 'NoSuchCORSConfiguration',
      lifecycle: 'NoSuchLifecycleConfiguration',
      tagging: 'NoSuchTagSet',
      website: 'NoSuchWebsiteConfiguration',
      replication: 'ReplicationConfigurationNotFoundError',
      encryption: 'ServerSideEncryptionConfigurationNotFoundError',
      'object-lock': 'ObjectLockConfigurationNotFoundError',
      publicAccessBlock: 'NoSuchPublicAccessBlockConfiguration',
      ownershipControls: 'OwnershipControlsNotFoundError',
    };

    for (const [name, code] of Object.entries(expected)) {
      expect([name, await errorOf(await s3.send({ target: `/b?${name}` }))]).toEqual([name, `404 ${code}`]);
      const set = await s3.send({ method: 'PUT', target: `/b?${name}`, body: '<x/>' });
      expect([name, set.status]).not.toEqual([name, 200]);
      expect(await errorOf(await s3.send({ target: `/none?${name}` }))).toBe('404 NoSuchBucket');
      expect(await errorOf(await s3.send({ target: `/b?${name}`, as: bob }))).toBe('403 AccessDenied');
    }
    for (const name of ['logging', 'notification', 'accelerate', 'requestPayment', 'acl']) {
      expect([name, (await s3.send({ target: `/b?${name}` })).status]).toEqual([name, 200]);
    }
  });

  it('show who may do what as an ACL', async () => {
    const s3 = harness();
    const own = await (await s3.send({ target: '/b?acl' })).text();
    expect(own).toContain('<Permission>FULL_CONTROL</Permission>');
    expect(own).not.toContain('AllUsers');
    expect(await (await s3.send({ target: '/open?acl' })).text()).toContain('AllUsers');
    await s3.send({ method: 'PUT', target: '/b/k', body: 'x' });
    expect(await (await s3.send({ target: '/b/k?acl' })).text()).toContain('<ID>111111111111</ID>');
    expect(await (await s3.send({ target: '/b/k?tagging' })).text()).toContain('<TagSet></TagSet>');
    expect(await errorOf(await s3.send({ target: '/b/none?tagging' }))).toBe('404 NoSuchKey');
    const attributes = await s3.send({
      target: '/b/k?attributes',
      headers: { 'x-amz-object-attributes': 'ETag,Checksum,ObjectSize,StorageClass' },
    });
    const xml = await attributes.text();
    expect(textOf(xml, 'ETag')).toMatch(/^[0-9a-f]{32}$/);
    expect(textOf(xml, 'ObjectSize')).toBe('1');
    expect(textOf(xml, 'ChecksumCRC64NVME')).not.toBe(undefined);
  });
});

describe('access', () => {
  it('to buckets of other accounts is denied, and missing ones are missing', async () => {
    const s3 = harness();
    for (const method of ['GET', 'HEAD', 'PUT', 'DELETE']) {
      expect((await s3.send({ method, target: '/bobs/k', body: method === 'PUT' ? 'x' : '' })).status).toBe(
        403,
      );
      expect((await s3.send({ method, target: '/none/k', body: method === 'PUT' ? 'x' : '' })).status).toBe(
        404,
      );
    }
    expect((await s3.send({ target: '/bobs' })).status).toBe(403);
    expect((await s3.send({ method: 'HEAD', target: '/bobs' })).status).toBe(403);
    expect((await s3.send({ method: 'DELETE', target: '/bobs' })).status).toBe(403);
    const body = '<Delete><Object><Key>k</Key></Object></Delete>';
    const { createHash } = await import('node:crypto');
    const headers = { 'content-md5': createHash('md5').update(body).digest('base64') };
    expect((await s3.send({ method: 'POST', target: '/bobs?delete', body, headers })).status).toBe(403);
    const copy = { 'x-amz-copy-source': 'bobs/k' };
    expect((await s3.send({ method: 'PUT', target: '/b/k', headers: copy })).status).toBe(403);
    expect(s3.backend.buckets.get('bobs')?.objects.size).toBe(0);
  });

  it('is what the policy of the key grants, and it hides what may not be listed', async () => {
    const s3 = harness();
    const put = async (bucket: string): Promise<number> =>
      (await s3.send({ method: 'PUT', target: `/${bucket}/k`, body: 'x', as: dropbox })).status;
    expect(await put('in-tray')).toBe(200);
    expect(await put('b')).toBe(403);
    expect((await s3.send({ target: '/in-tray/k', as: dropbox })).status).toBe(200);
    expect((await s3.send({ target: '/in-tray?list-type=2', as: dropbox })).status).toBe(403);
    expect((await s3.send({ method: 'DELETE', target: '/in-tray/k', as: dropbox })).status).toBe(403);
    expect(await errorOf(await s3.send({ target: '/in-tray/missing', as: dropbox }))).toBe(
      '403 AccessDenied',
    );
    expect(await errorOf(await s3.send({ target: '/in-tray/missing' }))).toBe('404 NoSuchKey');
    const body = '<Delete><Object><Key>k</Key></Object></Delete>';
    const { createHash } = await import('node:crypto');
    const headers = { 'content-md5': createHash('md5').update(body).digest('base64') };
    const response = await s3.send({ method: 'POST', target: '/in-tray?delete', body, headers, as: dropbox });
    expect(textsOf(await response.text(), 'Code')).toEqual(['AccessDenied']);
    expect(s3.backend.buckets.get('in-tray')?.objects.has('k')).toBe(true);
  });

  it('without credentials is reading public buckets', async () => {
    const s3 = harness();
    await s3.send({ method: 'PUT', target: '/open/k', body: 'x' });
    await s3.send({ method: 'PUT', target: '/b/k', body: 'x' });
    expect((await s3.send({ target: '/open/k', as: null })).status).toBe(200);
    expect((await s3.send({ method: 'HEAD', target: '/open/k', as: null })).status).toBe(200);
    expect((await s3.send({ target: '/open', as: null })).status).toBe(200);
    expect((await s3.send({ target: '/open/k', as: bob })).status).toBe(200);
    expect((await s3.send({ target: '/open/none', as: null })).status).toBe(404);
    expect((await s3.send({ target: '/b/k', as: null })).status).toBe(403);
    for (const [method, target] of [
      ['PUT', '/open/k'],
      ['DELETE', '/open/k'],
      ['DELETE', '/open'],
      ['POST', '/open/k?uploads'],
      ['POST', '/open?delete'],
      ['GET', '/open?uploads'],
      ['GET', '/open?versions'],
      ['GET', '/open?acl'],
      ['GET', '/open?location'],
      ['GET', '/open?policy'],
      ['PUT', '/open?acl'],
      ['PUT', '/open?policy'],
    ] as const) {
      const response = await s3.send({ method, target, as: null, body: method === 'GET' ? '' : 'x' });
      expect([method, target, response.status]).toEqual([method, target, 403]);
    }
  });

  it('needs the owner that the client expects', async () => {
    const s3 = harness();
    await s3.send({ method: 'PUT', target: '/b/k', body: 'x' });
    const as = async (owner: string): Promise<number> =>
      (await s3.send({ target: '/b/k', headers: { 'x-amz-expected-bucket-owner': owner } })).status;
    expect([await as(alice.accountId), await as(bob.accountId)]).toEqual([200, 403]);
  });

  it('in the wrong region names the right one', async () => {
    const s3 = harness({ region: 'eu-central-1' });
    const response = await s3.send({ target: '/b' });
    const xml = await response.text();
    expect([response.status, textOf(xml, 'Code'), textOf(xml, 'Region')]).toEqual([
      400,
      'AuthorizationHeaderMalformed',
      'eu-central-1',
    ]);
    expect(response.headers.get('x-amz-bucket-region')).toBe('eu-central-1');
  });

  it('may ask for the region of a bucket without knowing it, and for nothing else', async () => {
    const s3 = harness({ region: 'eu-central-1' });
    const location = await s3.send({ target: '/b?location' });
    expect(location.status).toBe(200);
    expect(await location.text()).toContain('>ap-southeast-2</LocationConstraint>');
    for (const target of ['/b/k?location', '/b?versioning']) {
      const { status } = await s3.send({ target });
      expect([target, status]).toEqual([target, 400]);
    }
    expect((await s3.send({ method: 'PUT', target: '/b?location' })).status).toBe(400);
  });

  it('is logged and counted without anything secret', async () => {
    const finished: unknown[] = [];
    const s3 = harness({
      metrics: {
        requestStarted: () => undefined,
        requestFinished: (observation) => finished.push(observation),
      },
    });
    await s3.send({ method: 'PUT', target: '/b/k', body: 'hello' });
    const got = await s3.send({ target: '/b/k?X-Amz-Nothing=secret' });
    await got.text();
    expect(finished).toMatchObject([
      { operation: 'PutObject', method: 'PUT', status: 200, receivedBytes: 5, sentBytes: 0 },
      { operation: 'GetObject', method: 'GET', status: 200, receivedBytes: 0, sentBytes: 5 },
    ]);
    expect(s3.log).toHaveLength(2);
    expect(s3.log[1]?.fields).toMatchObject({
      operation: 'GetObject',
      bucket: 'b',
      key: 'k',
      status: 200,
      bytesOut: 5,
      requestId: got.headers.get('x-amz-request-id'),
      accessKeyId: 'AKIAALICE',
    });
    expect(JSON.stringify(s3.log)).not.toContain('secret');
  });

  it('is refused with SlowDown when too much is going on', async () => {
    const s3 = harness({ limits: { maxInFlight: 1 } });
    const gate = Promise.withResolvers<undefined>();
    s3.backend.before = () => gate.promise;
    const first = s3.send({ target: '/b' });
    await new Promise((resolve) => setTimeout(resolve, 5));
    const second = await s3.send({ target: '/b' });
    expect([second.status, second.headers.get('retry-after')]).toEqual([503, '1']);
    expect(await second.text()).toContain('<Code>SlowDown</Code>');
    gate.resolve(undefined);
    expect((await first).status).toBe(200);
    expect((await s3.send({ target: '/b' })).status).toBe(200);
  });
});
