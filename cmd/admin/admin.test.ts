import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { request, type IncomingHttpHeaders } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import aws4 from 'aws4';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { staticCredentials } from '../../auth/static_credentials.ts';
import type { Backend } from '../../backend/backend.ts';
import { openFilesystemBackend } from '../../backend/filesystem/filesystem_backend.ts';
import { createRegistry, s3Metrics } from '../metrics.ts';
import { administrators } from './authenticate.ts';
import { bearerToken } from './metrics_token.ts';
import { ControlRefusedError, type ClusterControl } from './cluster_control.ts';
import { nothingToRepair } from './cluster_view.ts';
import { serveAdmin, type AdminServer } from './server.ts';

const region = 'eu-central-1';
const admin = {
  accessKeyId: 'AKADMIN',
  secretAccessKey: 'admin-secret',
  accountId: '1',
  displayName: 'main',
  admin: true,
  policy: [],
};
const metricsToken = 'token-of-the-scraper';
const user = { ...admin, accessKeyId: 'AKUSER', secretAccessKey: 'user-secret', admin: false };
const logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

const place = { host: '127.0.0.1', port: 9990, weight: 1, membership: 'active' } as const;

/** Notes every change; refuses those of node 9. */
function controlThatNotes(changes: string[]): ClusterControl {
  const note = (what: string, id: number): Promise<void> => {
    if (id === 9) return Promise.reject(new ControlRefusedError('unknown_member', 'there is no node 9'));
    changes.push(`${what} ${id}`);
    return Promise.resolve();
  };
  return {
    add: ({ id, host, port, weight }) => note(`add ${host}:${port} ${weight ?? '-'}`, id),
    activate: (id) => note('activate', id),
    drain: (id) => note('drain', id),
    remove: (id) => note('remove', id),
    replace: ({ id, host, port }) => note(`replace ${host}:${port}`, id),
    weigh: (id, weight) => note(`weigh ${weight}`, id),
    resumeAudit: () => note('resume', 0),
    approveAudit: () => note('approve', 0),
  };
}

describe('the admin listener', () => {
  let directory: string;
  let backend: Backend;
  let server: AdminServer;
  let port: number;
  const obstacles: string[] = [];
  const changes: string[] = [];

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 's3d-admin-'));
    backend = await openFilesystemBackend({ basePath: directory, region, logger });
    const registry = createRegistry();
    s3Metrics(registry);
    port = 20_000 + Math.floor(Math.random() * 10_000);
    server = await serveAdmin({
      view: {
        clusterId: 'c1',
        databases: async () => [{ id: 1, role: 'leader', up: true }],
        nodes: async () => [
          { ...place, id: 0, state: 'up', usedBytes: 5, freeBytes: 7, shards: 9 },
          { ...place, id: 1, state: 'down' },
        ],
        repair: async () => ({ ...nothingToRepair, objects: 2, bytes: 100, etaSeconds: 3, bySpare: [2] }),
        obstacles: async () => obstacles,
      },
      control: controlThatNotes(changes),
      usages: async () => [{ bucket: 'first', bytes: 5, versions: 1 }],
      backend,
      registry,
      region,
      logger,
      authenticate: administrators({
        credentials: staticCredentials([admin, user]),
        region,
        clock: Date.now,
      }),
      mayReadMetrics: bearerToken(metricsToken),
      host: '127.0.0.1',
      port,
      identity: undefined,
    });
  });
  afterAll(async () => {
    await server.close();
    await backend.close();
    await rm(directory, { recursive: true });
  });

  async function send(
    method: string,
    path: string,
    options: { keys?: typeof admin | undefined; body?: string; headers?: Record<string, string> } = {},
  ): Promise<{ status: number; text: string; headers: IncomingHttpHeaders }> {
    const { keys, body } = options;
    const basic =
      keys === undefined
        ? {}
        : {
            authorization: `Basic ${Buffer.from(`${keys.accessKeyId}:${keys.secretAccessKey}`).toString('base64')}`,
          };
    const headers = {
      ...basic,
      ...(body === undefined ? {} : { 'content-length': String(body.length) }),
      ...options.headers,
    };
    return new Promise((resolve, reject) => {
      const outgoing = request(
        { host: '127.0.0.1', port, method, path, headers, agent: false },
        (response) => {
          let text = '';
          response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
          response.on('end', () =>
            resolve({ status: response.statusCode ?? 0, text, headers: response.headers }),
          );
        },
      );
      outgoing.on('error', reject);
      outgoing.end(body);
    });
  }

  test('quotas of buckets are set, shown and taken away', async () => {
    const as = { keys: admin };
    await send('POST', '/buckets?name=first', as);
    const quota = async (): Promise<unknown> =>
      JSON.parse((await send('GET', '/buckets/first/quota', as)).text);
    const none = { bucket: 'first', max_bytes: null, max_objects: null, used_bytes: 5, used_objects: 1 };
    expect(await quota()).toEqual(none);
    const put = (body: string) => send('PUT', '/buckets/first/quota', { ...as, body });
    expect(await put('{"max_bytes":100}')).toMatchObject({ status: 200 });
    expect(await quota()).toEqual({ ...none, max_bytes: 100 });
    for (const body of ['{}', '{"max_bytes":-1}', '{"max_objects":"all"}', '{"maxBytes":1}', ''])
      expect([body, (await put(body)).status]).toEqual([body, 400]);
    expect(await send('DELETE', '/buckets/first/quota', as)).toMatchObject({ status: 200 });
    expect(await quota()).toEqual(none);
    expect(await send('GET', '/buckets/nowhere/quota', as)).toMatchObject({ status: 404 });
    expect(await send('GET', '/buckets/first/quota')).toMatchObject({ status: 401 });
  });

  test('health is open; it turns to 503 with the reasons', async () => {
    expect(await send('GET', '/health')).toMatchObject({ status: 200 });
    obstacles.push('the disk is gone');
    expect(await send('GET', '/health/ready')).toMatchObject({
      status: 503,
      text: expect.stringContaining('the disk is gone') as string,
    });
    expect(await send('GET', '/health/live')).toMatchObject({ status: 200 });
    obstacles.pop();
  });

  test.each(['/metrics', '/cluster', '/nodes', '/buckets', '/objects/b/k', '/'])(
    '%s is for administrators only',
    async (path) => {
      expect((await send('GET', path)).status).toBe(401);
      expect((await send('GET', path, { keys: user })).status).toBe(401);
      expect((await send('GET', path, { keys: { ...admin, secretAccessKey: 'wrong' } })).status).toBe(401);
      expect((await send('GET', path, { keys: admin })).status).not.toBe(401);
    },
  );

  test('/cluster has the names that scripts rely on', async () => {
    const { text } = await send('GET', '/cluster', { keys: admin });
    expect(JSON.parse(text)).toEqual({
      cluster_id: 'c1',
      db: [{ id: 1, role: 'leader', up: true }],
      nodes: [
        { ...place, id: 0, state: 'up', used_bytes: 5, free_bytes: 7, shards: 9 },
        { ...place, id: 1, state: 'down', used_bytes: null, free_bytes: null, shards: null },
      ],
      repair: {
        objects: 2,
        bytes: 100,
        eta_s: 3,
        by_spare: [2],
        reasons: [],
        rebalance: {
          active: false,
          objects_left: 0,
          bytes_left: 0,
          eta_s: 0,
          objects_moved: 0,
          bytes_moved: 0,
          waiting: 0,
        },
        audit: { halted: false, finished: null, orphans: 0, deleted: 0, asking: [] },
      },
    });
  });

  test('changes of the nodes reach who makes them; refusals and wrong bodies change nothing', async () => {
    const post = async (path: string, body?: object): Promise<number> =>
      (
        await send('POST', path, {
          keys: admin,
          ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        })
      ).status;
    expect(await post('/nodes', { id: 5, host: 'h', port: 9995 })).toBe(202);
    expect(await post('/nodes', { id: 5, host: 'h', port: 9995, weight: 2 })).toBe(202);
    expect(await post('/nodes/5/drain')).toBe(202);
    expect(await post('/nodes/5/activate')).toBe(202);
    expect(await post('/nodes/5/replace', { host: 'i', port: 9996 })).toBe(202);
    expect(await post('/nodes/5/weight', { weight: 3 })).toBe(202);
    expect((await send('DELETE', '/nodes/5', { keys: admin })).status).toBe(202);
    expect(await post('/audit/resume')).toBe(202);
    expect(await post('/audit/approve')).toBe(202);
    const made = [...changes];
    expect(made).toEqual([
      'add h:9995 - 5',
      'add h:9995 2 5',
      'drain 5',
      'activate 5',
      'replace i:9996 5',
      'weigh 3 5',
      'remove 5',
      'resume 0',
      'approve 0',
    ]);
    expect(await post('/nodes/9/drain')).toBe(409);
    expect(await post('/nodes/x/drain')).toBe(400);
    expect(await post('/nodes', { id: 5 })).toBe(400);
    expect(await post('/nodes/5/weight', { weight: 'big' })).toBe(400);
    expect((await send('DELETE', '/nodes/5', { keys: user })).status).toBe(401);
    expect(changes).toEqual(made);
  });

  test('/metrics is Prometheus text', async () => {
    expect((await send('GET', '/metrics', { keys: admin })).text).toContain('s3d_s3_requests_in_flight 0');
  });

  test('/metrics, and nothing else, can be read with its token', async () => {
    const bearing = (path: string, token: string): Promise<{ status: number }> =>
      send('GET', path, { headers: { authorization: `Bearer ${token}` } });
    expect((await bearing('/metrics', metricsToken)).status).toBe(200);
    expect((await bearing('/metrics', `${metricsToken}x`)).status).toBe(401);
    expect((await bearing('/metrics', '')).status).toBe(401);
    expect((await bearing('/cluster', metricsToken)).status).toBe(401);
  });

  test('the console shows the cluster, and buckets key by key', async () => {
    const bucket = 'console';
    await send('POST', `/buckets?name=${bucket}`, { keys: admin });
    const hostile = '<img src=x onerror=alert(1)>';
    await send('POST', `/objects/${bucket}/${encodeURIComponent(`a/${hostile}`)}`, {
      keys: admin,
      body: 'x',
    });
    await send('POST', `/objects/${bucket}/top`, { keys: admin, body: 'x'.repeat(2048) });
    const overview = (await send('GET', '/', { keys: admin })).text;
    expect(overview).toContain('2 objects (100 B) have fewer shards than promised');
    expect(overview).toContain(`<a href="/browse/${bucket}">${bucket}</a>`);
    expect(overview).toMatch(/<td class="down">down<\/td>/);
    const top = (await send('GET', `/browse/${bucket}`, { keys: admin })).text;
    expect(top).toContain('<a href="/browse/console?prefix=a%2F">a/</a>');
    expect(top).toContain('2.00 KiB');
    const folder = (await send('GET', `/browse/${bucket}?prefix=a%2F`, { keys: admin })).text;
    expect(folder).toContain('&lt;img src=x onerror=alert(1)&gt;');
    expect(folder).not.toContain(hostile);
    const link = /href="(\/objects\/[^"]+)"/.exec(folder)?.[1] ?? '';
    expect(await send('GET', link, { keys: admin })).toMatchObject({ status: 200, text: 'x' });
    expect((await send('GET', '/browse/nothing-here', { keys: admin })).status).toBe(404);
  });

  test('pages of other origins change nothing through a browser that knows the credentials', async () => {
    const from = async (site: string): Promise<number> =>
      (await send('POST', `/buckets?name=from-${site}`, { keys: admin, headers: { 'sec-fetch-site': site } }))
        .status;
    expect([await from('cross-site'), await from('same-site'), await from('same-origin')]).toEqual([
      403, 403, 201,
    ]);
  });

  test('an object can not act in the browser of who looks at it', async () => {
    await send('POST', '/buckets?name=sandboxed', { keys: admin });
    await send('POST', '/objects/sandboxed/page.html', {
      keys: admin,
      body: '<script>1</script>',
      headers: { 'content-type': 'text/html' },
    });
    const { headers } = await send('GET', '/objects/sandboxed/page.html', { keys: admin });
    expect(headers).toMatchObject({
      'content-disposition': 'attachment',
      'content-security-policy': 'sandbox',
      'x-content-type-options': 'nosniff',
    });
  });

  test('buckets and objects by plain REST', async () => {
    expect((await send('POST', '/buckets?name=rest', { keys: admin })).status).toBe(201);
    expect((await send('POST', '/objects/rest/a/b.txt', { keys: admin, body: 'hello' })).status).toBe(201);
    expect(await send('GET', '/objects/rest/a/b.txt', { keys: admin })).toMatchObject({
      status: 200,
      text: 'hello',
    });
    expect((await send('GET', '/buckets', { keys: admin })).text).toContain('"rest"');
    expect((await send('DELETE', '/objects/rest/a/b.txt', { keys: admin })).status).toBe(204);
    expect((await send('GET', '/objects/rest/a/b.txt', { keys: admin })).status).toBe(404);
  });

  test('a body that is not what was signed is refused and not stored', async () => {
    await send('POST', '/buckets?name=signed', { keys: admin });
    const put = async (body: string, signedBody: string): Promise<number> => {
      const headers = { 'x-amz-content-sha256': createHash('sha256').update(signedBody).digest('hex') };
      const path = '/objects/signed/k';
      const signed = aws4.sign(
        { host: `127.0.0.1:${port}`, path, method: 'POST', service: 's3', region, headers },
        admin,
      );
      const sent = { ...(signed.headers as Record<string, string>), 'content-length': String(body.length) };
      return (await send('POST', path, { body, headers: sent })).status;
    };
    expect(await put('forged', 'honest')).toBe(400);
    expect((await send('GET', '/objects/signed/k', { keys: admin })).status).toBe(404);
    expect(await put('honest', 'honest')).toBe(201);
  });
});
