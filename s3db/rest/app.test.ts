import { Agent, request as httpsRequest } from 'node:https';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { ClientEndpoint, type Answer, type Call } from '../client_endpoint.ts';
import { formatRequestId, mintRequestId } from '../request_id.ts';
import { TestCluster, testCredentials, testRegion } from '../testing/test_cluster.ts';

let cluster: TestCluster;
let endpoint: ClientEndpoint;

beforeAll(async () => {
  cluster = await TestCluster.start({ size: 1 });
  endpoint = endpointWith({});
});

afterAll(async () => {
  await endpoint.close();
  await cluster.close();
});

afterEach(() => {
  expect(cluster.log.filter((line) => line.startsWith('error'))).toEqual([]);
});

function endpointWith(overrides: {
  region?: string;
  secretAccessKey?: string;
  accessKeyId?: string;
}): ClientEndpoint {
  const { host, port } = cluster.addresses[0]!;
  const options = { region: testRegion, ...testCredentials, ...overrides };
  const address = { host, port, servername: 'db-1.test.s3d' };
  return new ClientEndpoint({ endpoint: address, ca: cluster.authority.ca, connections: 4, ...options });
}

const hex = (text: string): string => Buffer.from(text).toString('hex');
const base64 = (text: string): string => Buffer.from(text).toString('base64');

async function send(method: Call['method'], path: string, rest: Partial<Call> = {}): Promise<Answer> {
  return endpoint.send({ method, path, headers: {}, ...rest }, AbortSignal.timeout(10_000));
}

async function json(answer: Promise<Answer>): Promise<[number, unknown]> {
  const { status, body } = await answer;
  return [status, JSON.parse(Buffer.from(body).toString())];
}

const postJson = (
  path: string,
  body: unknown,
  headers: Record<string, string> = {},
): Promise<[number, unknown]> =>
  json(send('POST', path, { body: Buffer.from(JSON.stringify(body)), headers }));

/** Without a signature, or with whatever headers. */
async function plain(path: string, headers: Record<string, string> = {}): Promise<[number, string]> {
  const { host, port } = cluster.addresses[0]!;
  return new Promise((resolve, reject) => {
    const options = {
      host,
      port,
      path,
      headers,
      ca: cluster.authority.ca,
      servername: 'db-1.test.s3d',
      agent: false,
    };
    httpsRequest(options, (response) => {
      let text = '';
      response.on('data', (piece: Buffer) => (text += piece.toString()));
      response.on('end', () => resolve([response.statusCode ?? 0, text]));
    })
      .on('error', reject)
      .end();
  });
}

describe('the REST service', () => {
  it('puts, gets and deletes raw values', async () => {
    const body = Buffer.from([0, 255, 128, 10]);
    const [status, answer] = await json(send('POST', `/v1/put/things/${hex('raw')}`, { body }));
    expect([status, answer]).toEqual([200, { index: expect.any(Number) as number }]);
    const got = await send('GET', `/v1/get/things/${hex('raw')}`);
    expect([got.status, Buffer.from(got.body)]).toEqual([200, body]);
    expect((await send('GET', `/v1/get/things/${hex('raw')}?consistency=stale`)).status).toBe(200);
    expect((await send('DELETE', `/v1/delete/things/${hex('raw')}`)).status).toBe(200);
    expect(await json(send('GET', `/v1/get/things/${hex('raw')}`))).toEqual([
      404,
      { error: 'NotFound', message: 'there is no such key' },
    ]);
  });

  it('takes an empty key and an empty value', async () => {
    expect((await send('POST', '/v1/put/things/', { body: Buffer.alloc(0) })).status).toBe(200);
    const got = await send('GET', '/v1/get/things/');
    expect([got.status, got.body.length]).toEqual([200, 0]);
    expect((await send('DELETE', '/v1/delete/things/')).status).toBe(200);
  });

  it('applies a batch or names the condition that failed', async () => {
    const key = hex('batched');
    const batch = {
      conditions: [{ table: 'b', key, exists: false }],
      operations: [
        { type: 'put', table: 'b', key, value: base64('1') },
        { type: 'delete', table: 'b', key: hex('other') },
      ],
    };
    expect((await postJson('/v1/batch', batch))[0]).toBe(200);
    const second = {
      conditions: [
        { table: 'b', key, equals: base64('1') },
        { table: 'b', prefix: hex('x'), empty: true },
        { table: 'b', prefix: hex('b'), empty: true },
      ],
      operations: [],
    };
    const [status, answer] = await postJson('/v1/batch', second);
    expect([status, answer]).toEqual([
      412,
      { error: 'ConditionFailed', message: expect.any(String) as string, condition: 2 },
    ]);
  });

  it('scans in pages', async () => {
    for (const key of ['a/1', 'a/2', 'b', 'c/1']) {
      await send('POST', `/v1/put/scanned/${hex(key)}`, { body: Buffer.from(key) });
    }
    const [, first] = await json(send('GET', `/v1/scan/scanned?delimiter=${hex('/')}&limit=2`));
    expect(first).toEqual({
      items: [{ key: hex('b'), value: base64('b') }],
      prefixes: [hex('a/')],
      truncated: true,
      next: hex('b'),
    });
    const [, second] = await json(
      send('GET', `/v1/scan/scanned?delimiter=${hex('/')}&limit=2&start_after=${hex('b')}`),
    );
    expect(second).toEqual({ items: [], prefixes: [hex('c/')], truncated: false });
    const [, within] = await json(send('GET', `/v1/scan/scanned?consistency=stale&prefix=${hex('a/')}`));
    expect(within).toMatchObject({ items: [{ key: hex('a/1') }, { key: hex('a/2') }], truncated: false });
  });

  it('answers a request id as before, and refuses it for another body or when it is old', async () => {
    const headers = { 'x-request-id': formatRequestId(mintRequestId(Date.now())) };
    const body = Buffer.from('1');
    const path = `/v1/put/ids/${hex('k')}`;
    const [, first] = await json(send('POST', path, { headers, body }));
    await send('POST', path, { body: Buffer.from('2') });
    expect(await json(send('POST', path, { headers, body }))).toEqual([200, first]);
    expect(Buffer.from((await send('GET', `/v1/get/ids/${hex('k')}`)).body).toString()).toBe('2');
    const other = await json(send('POST', path, { headers, body: Buffer.from('3') }));
    expect(other).toMatchObject([422, { error: 'RequestIdReused' }]);
    const old = { 'x-request-id': formatRequestId(mintRequestId(Date.now() - 11 * 60_000)) };
    expect(await json(send('POST', path, { headers: old, body }))).toMatchObject([
      409,
      { error: 'RequestExpired' },
    ]);
    const wrong = { 'x-request-id': '4d3f4a52-8c7e-4c0a-9a51-0d6c8f1e2b3a' };
    expect((await send('POST', path, { headers: wrong, body })).status).toBe(400);
  });

  it('says who leads and how it is', async () => {
    const { host, port } = cluster.addresses[0]!;
    expect(await json(send('GET', '/v1/leader'))).toEqual([
      200,
      { id: 1, host, port, term: expect.any(Number) as number },
    ]);
    expect(await json(send('GET', '/status'))).toMatchObject([
      200,
      { id: 1, role: 'leader', leader_id: 1, voters: [1], learners: [] },
    ]);
    expect(await plain('/health')).toEqual([200, '{"status":"ok"}']);
  });

  it.each([
    ['GET', '/v1/get/things/xyz'],
    ['GET', '/v1/get/things/abc'],
    ['GET', '/v1/get/Things/00'],
    ['GET', '/v1/get/things/00?consistency=maybe'],
    ['GET', '/v1/scan/things?limit=0'],
    ['GET', '/v1/scan/things?limit=10001'],
    ['GET', '/v1/scan/things?prefix=0'],
    ['POST', '/v1/put/s3db-members/00'],
    ['POST', `/v1/put/things/${'00'.repeat(4097)}`],
    ['POST', '/v1/transfer'],
  ] as const)('refuses %s %s', async (method, path) => {
    expect(await json(send(method, path))).toMatchObject([400, { error: 'InvalidRequest' }]);
  });

  it.each([
    ['no JSON', '{'],
    ['no object', '[]'],
    ['an unknown field', '{"operation":[]}'],
    ['an unknown condition', '{"conditions":[{"table":"t","key":"00","missing":true}]}'],
    ['a condition with more', '{"conditions":[{"table":"t","key":"00","exists":true,"equals":""}]}'],
    ['a value that is no base64', '{"operations":[{"type":"put","table":"t","key":"00","value":"!"}]}'],
    ['a key that is no hex', '{"operations":[{"type":"delete","table":"t","key":"0"}]}'],
    ['an unknown operation', '{"operations":[{"type":"add","table":"t","key":"00"}]}'],
    ['a table that is no name', '{"operations":[{"type":"delete","table":"../t","key":"00"}]}'],
  ])('refuses a batch with %s', async (_, body) => {
    expect(await json(send('POST', '/v1/batch', { body: Buffer.from(body) }))).toMatchObject([
      400,
      { error: 'InvalidRequest' },
    ]);
  });

  it('refuses what is too large and goes on', async () => {
    const operations = Array.from({ length: 20_001 }, () => ({ type: 'delete', table: 't', key: '00' }));
    expect((await postJson('/v1/batch', { operations }))[0]).toBe(400);
    const body = Buffer.alloc(8 * 1024 * 1024 + 1);
    expect((await send('POST', `/v1/put/things/${hex('big')}`, { body })).status).toBe(413);
    const most = Buffer.alloc(8 * 1024 * 1024 - 100, 3);
    expect((await send('POST', `/v1/put/things/${hex('big')}`, { body: most })).status).toBe(200);
    expect(Buffer.from((await send('GET', `/v1/get/things/${hex('big')}`)).body).equals(most)).toBe(true);
  });

  it('keeps the connection when a key is not there', async () => {
    const { host, port } = cluster.addresses[0]!;
    const path = `/v1/get/things/${hex('missing')}`;
    const headers = endpoint.signedHeaders({ method: 'GET', path, headers: {} });
    const agent = new Agent({ keepAlive: true });
    const answer = await new Promise<readonly unknown[]>((resolve, reject) => {
      const options = { host, port, path, headers, agent, ca: cluster.authority.ca };
      httpsRequest({ ...options, servername: 'db-1.test.s3d' }, (response) => {
        response.resume();
        resolve([response.statusCode, response.headers.connection]);
      })
        .on('error', reject)
        .end();
    });
    agent.destroy();
    expect(answer).toEqual([404, 'keep-alive']);
  });

  it('answers only who signs, and hides what exists from others', async () => {
    for (const path of [
      '/status',
      '/v1/leader',
      '/v1/get/things/00',
      '/v1/scan/things',
      '/nowhere',
      '/v1/batch',
    ]) {
      const [status, text] = await plain(path);
      expect([path, status, text]).toEqual([path, 403, expect.stringContaining('Unauthorized')]);
    }
    for (const overrides of [{ region: 'elsewhere' }, { secretAccessKey: 'x' }, { accessKeyId: 'x' }]) {
      const wrong = endpointWith(overrides);
      const answer = await wrong.send(
        { method: 'GET', path: '/status', headers: {} },
        AbortSignal.timeout(5000),
      );
      await wrong.close();
      expect(answer.status).toBe(403);
    }
  });

  it('refuses a body that is not the one that was signed', async () => {
    const { host, port } = cluster.addresses[0]!;
    let signed: Record<string, string> = {};
    const path = `/v1/put/things/${hex('forged')}`;
    const body = Buffer.from('signed');
    await send('POST', path, { body });
    signed = endpoint.signedHeaders({ method: 'POST', path, headers: {}, body });
    const answer = await new Promise<number>((resolve, reject) => {
      const options = { host, port, path, method: 'POST', headers: signed, ca: cluster.authority.ca };
      httpsRequest({ ...options, servername: 'db-1.test.s3d', agent: false }, (response) => {
        response.resume();
        resolve(response.statusCode ?? 0);
      })
        .on('error', reject)
        .end('forged');
    });
    expect(answer).toBe(403);
    expect(Buffer.from((await send('GET', `/v1/get/things/${hex('forged')}`)).body).toString()).toBe(
      'signed',
    );
  });

  it('refuses members that can not be, and says what is nowhere', async () => {
    expect((await postJson('/v1/join', { id: 4 }))[0]).toBe(400);
    expect((await send('GET', '/v1/nowhere')).status).toBe(404);
    expect((await postJson('/v1/leave', { id: 9 }))[0]).toBe(400);
  });
});
