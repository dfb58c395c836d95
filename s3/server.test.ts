import { setTimeout as delay } from 'node:timers/promises';
import { once } from 'node:events';
import { connect } from 'node:tls';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { S3AppOptions } from './app.ts';
import { serveS3, type S3Server, type ServerLimits, type TlsIdentity } from './server.ts';
import { TestAuthority } from '../transport/testing/certificates.ts';
import { aliceOwner, bob, createHarness, type Harness } from './testing/harness.ts';
import { RawClient, rawHead } from './testing/raw_client.ts';

const authority = new TestAuthority();
const identity = tlsIdentity('localhost');
const opened: { readonly servers: S3Server[]; readonly clients: RawClient[] } = { servers: [], clients: [] };

afterEach(async () => {
  for (const client of opened.clients.splice(0)) client.destroy();
  await Promise.all(opened.servers.splice(0).map((server) => server.close(0)));
});

function tlsIdentity(name: string): TlsIdentity {
  const { cert, key } = authority.issue(name);
  return { cert: String(cert), key: String(key) };
}

async function serve(
  options: { app?: Partial<S3AppOptions>; limits?: Partial<ServerLimits> } = {},
): Promise<Harness & { readonly port: number; readonly server: S3Server }> {
  const s3 = createHarness(options.app);
  s3.backend.addBucket('b', { owner: aliceOwner });
  s3.backend.addBucket('bobs', { owner: { id: bob.accountId, displayName: 'bob' } });
  const server = await serveS3({
    app: s3.app,
    host: '127.0.0.1',
    port: 0,
    tls: identity,
    logger: { info: () => undefined, warn: () => undefined, error: () => undefined },
    ...(options.limits === undefined ? {} : { limits: options.limits }),
  });
  opened.servers.push(server);
  return { ...s3, server, port: server.port };
}

async function client(port: number): Promise<RawClient> {
  const raw = await RawClient.open(port);
  opened.clients.push(raw);
  return raw;
}

/** One request with its answer to the end of the connection. */
async function exchange(port: number, text: string): Promise<string> {
  const raw = await client(port);
  raw.send(text);
  return raw.untilClosed();
}

describe('a server', () => {
  it('takes request targets as they are in the request line', async () => {
    const { port, backend } = await serve();
    const raw = await client(port);
    for (const target of ['/b/../x', '/b//a/./b', '/b/%2e%2e/y', 'http://s3.test/b/c/../d']) {
      const signed = target.startsWith('http') ? target.slice('http://s3.test'.length) : target;
      const head = rawHead({ method: 'PUT', target: signed, body: 'hi' }).replace(
        `PUT ${signed}`,
        `PUT ${target}`,
      );
      raw.send(`${head}hi`);
      expect(await raw.take(/^HTTP\/1.1 \d+[^]*?\r\n\r\n/)).toContain('200 OK');
    }
    expect([...(backend.buckets.get('b')?.objects.keys() ?? [])]).toEqual([
      '../x',
      '/a/./b',
      '../y',
      'c/../d',
    ]);
  });

  it('sends headers and body of small objects at once, and nothing on HEAD', async () => {
    const { port, send } = await serve();
    await send({ method: 'PUT', target: '/b/k', body: 'hello', headers: { 'content-type': 'a/b' } });
    const raw = await client(port);
    raw.send(rawHead({ target: '/b/k' }));
    const answer = await raw.take(/^HTTP\/1.1 200 OK\r\n[^]*?\r\n\r\nhello$/);
    expect(answer).toMatch(/content-length: 5\r\n/);
    expect(answer).toMatch(/server: s3d\r\n/);
    expect(answer).toMatch(/x-amz-request-id: [0-9A-F]{16}\r\n/);
    expect(answer).toMatch(/\r\nDate: /);
    raw.send(rawHead({ method: 'HEAD', target: '/b/k' }));
    expect(await raw.take(/^HTTP\/1.1 200 OK\r\n[^]*?\r\n\r\n/)).toContain('content-length: 5');
    raw.send(rawHead({ method: 'HEAD', target: '/b/none' }));
    expect(await raw.take(/^HTTP\/1.1 404[^]*?\r\n\r\n/)).not.toContain('content-length');
    raw.send(rawHead({ target: '/b/none' }));
    expect(await raw.take(/^HTTP\/1.1 404[^]*?<\/Error>/)).toContain('<Code>NoSuchKey</Code>');
  });

  it('answers what is not HTTP or too long in the words of S3 and closes', async () => {
    const { port } = await serve();
    expect(await exchange(port, 'nonsense\r\n\r\n')).toMatch(
      /^HTTP\/1.1 400 [^]*<Code>InvalidRequest<\/Code>/,
    );
    const long = `GET /b HTTP/1.1\r\nhost: s3.test\r\nx: ${'y'.repeat(20_000)}\r\n\r\n`;
    expect(await exchange(port, long)).toMatch(/^HTTP\/1.1 431 [^]*<Error>/);
    const host = 'GET /b HTTP/1.1\r\nhost: a b\\c\r\nconnection: close\r\n\r\n';
    expect(await exchange(port, host)).toMatch(/^HTTP\/1.1 400 [^]*<Error>/);
  });

  it('closes connections on which no request comes', async () => {
    const { port } = await serve({ limits: { headersTimeoutMs: 100 } });
    const raw = await client(port);
    raw.send('GET /b HTTP/1.1\r\nhost: s3.test\r\n');
    expect(await raw.untilClosed()).toMatch(/^HTTP\/1.1 400 [^]*<Code>RequestTimeout<\/Code>/);
  });

  it('takes new certificates without a restart', async () => {
    const { port, server } = await serve();
    server.reloadCertificates(tlsIdentity('renewed'));
    const socket = connect({ port, host: '127.0.0.1', servername: 'localhost', rejectUnauthorized: false });
    await once(socket, 'secureConnect');
    expect(socket.getPeerCertificate().subject.CN).toBe('renewed');
    socket.destroy();
    expect(() => {
      server.reloadCertificates({ cert: 'x', key: 'y' });
    }).toThrow();
  });
});

describe('Expect: 100-continue', () => {
  const headers = {
    expect: '100-continue',
    'content-type': 'a/b',
    'content-length': '5',
    'x-amz-content-sha256': 'UNSIGNED-PAYLOAD',
  };

  it('is answered by 100 when the body is wanted', async () => {
    const { port, backend } = await serve();
    const raw = await client(port);
    raw.send(rawHead({ method: 'PUT', target: '/b/k', headers }));
    await raw.take(/^HTTP\/1.1 100 Continue\r\n\r\n/);
    raw.send('hello');
    await raw.take(/^HTTP\/1.1 200 OK\r\n/);
    expect(backend.buckets.get('b')?.objects.get('k')?.bytes.toString()).toBe('hello');
  });

  it('is answered by the refusal at once when it is not', async () => {
    const { port, backend } = await serve();
    const { 'content-type': _, ...untyped } = headers;
    const cases = [
      { target: '/bobs/k', headers, code: 'AccessDenied' },
      { target: '/bobs/k', headers: untyped, code: 'AccessDenied' },
      { target: '/none/k', headers, code: 'NoSuchBucket' },
      { target: '/none/k', headers: untyped, code: 'NoSuchBucket' },
      { target: '/b/k', headers: { ...headers, 'if-match': '"x"' }, code: 'NoSuchKey' },
      { target: '/b/k', headers: { ...headers, 'content-md5': 'x' }, code: 'InvalidDigest' },
      { target: '/b/k', headers, code: 'SignatureDoesNotMatch' },
    ];
    for (const { target, headers: sent, code } of cases) {
      const head = rawHead({ method: 'PUT', target, headers: sent });
      const wrong = head.replace(/Signature=..../, 'Signature=0000');
      const answer = await exchange(port, code === 'SignatureDoesNotMatch' ? wrong : head);
      expect(answer).toMatch(/^HTTP\/1.1 4\d\d [^]*\r\nconnection: close\r\n/);
      expect(answer).toContain(`<Code>${code}</Code>`);
    }
    expect(backend.buckets.get('b')?.objects.size).toBe(0);
  });

  it('of anything else is none of our business', async () => {
    const { port } = await serve();
    const raw = await client(port);
    raw.send(`${rawHead({ method: 'PUT', target: '/b/k', headers: { expect: '200' }, body: 'hello' })}hello`);
    await raw.take(/^HTTP\/1.1 200 OK\r\n/);
  });
});

describe('a refused request', () => {
  // Without a type the first bytes would be waited for.
  const typed = { 'content-type': 'a/b' };

  it('with a short body leaves its connection usable', async () => {
    const { port } = await serve();
    const raw = await client(port);
    for (let times = 0; times < 3; times++) {
      raw.send(rawHead({ method: 'PUT', target: '/bobs/k', headers: typed, body: 'x'.repeat(100_000) }));
      expect(await raw.take(/^HTTP\/1.1 403 [^]*?<\/Error>/)).not.toMatch(/connection: close/i);
      raw.send('x'.repeat(100_000));
    }
    raw.send(rawHead({ target: '/b' }));
    await raw.take(/^HTTP\/1.1 200 OK/);
  });

  it('with a long body is answered before the connection ends', async () => {
    const { port } = await serve({ app: { limits: { lingerBytes: 100_000, lingerMs: 200 } } });
    const raw = await client(port);
    const sizeBytes = 50_000_000;
    raw.send(
      rawHead({
        method: 'PUT',
        target: '/bobs/k',
        headers: { 'content-length': String(sizeBytes), 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD' },
      }),
    );
    raw.send(Buffer.alloc(1_000_000));
    expect(await raw.untilClosed()).toMatch(/^HTTP\/1.1 403 [^]*connection: close[^]*<\/Error>$/);
  });

  it('whose body never comes is not waited for', async () => {
    const { port } = await serve({ app: { limits: { lingerBytes: 1_000_000, lingerMs: 50 } } });
    const raw = await client(port);
    raw.send(rawHead({ method: 'PUT', target: '/bobs/k', headers: typed, body: 'x'.repeat(1000) }));
    expect(await raw.untilClosed()).toMatch(/^HTTP\/1.1 403 /);
  });
});

describe('a client', () => {
  const upload = {
    method: 'PUT',
    target: '/b/k',
    headers: {
      'content-length': '1000000',
      'content-type': 'a/b',
      'x-amz-content-sha256': 'UNSIGNED-PAYLOAD',
    },
  };

  it('that vanishes in the middle of an upload leaves nothing behind and holds no slot', async () => {
    const { port, backend, log, send } = await serve({ app: { limits: { maxInFlight: 1 } } });
    const raw = await client(port);
    raw.send(rawHead(upload));
    raw.send('x'.repeat(1000));
    await vi.waitFor(() => expect(backend.calls.at(-1)?.name).toBe('putObject'));
    raw.destroy();
    await vi.waitFor(() =>
      expect(log.at(-1)?.fields).toMatchObject({ operation: 'PutObject', bytesIn: 1000 }),
    );
    expect(log.filter((line) => line.level === 'error')).toEqual([]);
    expect((backend.calls.at(-1)?.request as { signal: AbortSignal }).signal.aborted).toBe(true);
    expect(backend.buckets.get('b')?.objects.size).toBe(0);
    expect((await send({ target: '/b' })).status).toBe(200);
  });

  it('that stalls in the middle of an upload is told so and given up', async () => {
    const pace = { idleMs: 100, minBytesPerSecond: 1, graceMs: 10_000 };
    const { port, backend } = await serve({ app: { limits: { pace, lingerMs: 50 } } });
    const raw = await client(port);
    raw.send(rawHead(upload));
    raw.send('x'.repeat(1000));
    expect(await raw.untilClosed()).toMatch(/^HTTP\/1.1 400 [^]*<Code>RequestTimeout<\/Code>/);
    expect(backend.buckets.get('b')?.objects.size).toBe(0);
  });

  it('that sends a few bytes now and then is given up too', async () => {
    const pace = { idleMs: 10_000, minBytesPerSecond: 1_000_000, graceMs: 100 };
    const { port } = await serve({ app: { limits: { pace, lingerMs: 50 } } });
    const raw = await client(port);
    raw.send(rawHead(upload));
    const trickle = setInterval(() => raw.send('x'), 20);
    expect(await raw.untilClosed()).toContain('<Code>RequestTimeout</Code>');
    clearInterval(trickle);
  });

  it('that reads slowly makes the backend wait, and is given up when it stops', async () => {
    const pace = { idleMs: 300, minBytesPerSecond: 1, graceMs: 10_000 };
    const { port, backend, send, log } = await serve({ app: { limits: { pace } } });
    await send({ method: 'PUT', target: '/b/k', body: 'x' });
    const sizeBytes = 1024 ** 3;
    let yielded = 0;
    let returned = false;
    const head = await backend.headObject({ bucket: 'b', key: 'k', authorize: () => undefined });
    backend.getObject = () =>
      Promise.resolve({
        ...head,
        sizeBytes,
        body: (async function* () {
          try {
            for (; yielded < sizeBytes; yielded += 65536) yield Buffer.alloc(65536);
          } finally {
            returned = true;
          }
        })(),
      });
    const raw = await client(port);
    raw.send(rawHead({ target: '/b/k' }));
    await raw.take(/^HTTP\/1.1 200 OK/);
    raw.socket.pause();
    await vi.waitFor(() => expect(returned).toBe(true), { timeout: 5000 });
    expect(yielded).toBeLessThan(64 * 1024 ** 2);
    await vi.waitFor(() =>
      expect(log.at(-1)?.fields).toMatchObject({ operation: 'GetObject', broken: true }),
    );
  });

  it('that vanishes in the middle of a download frees the body', async () => {
    const { port, backend, send } = await serve();
    await send({ method: 'PUT', target: '/b/k', body: 'x' });
    const head = await backend.headObject({ bucket: 'b', key: 'k', authorize: () => undefined });
    let returned = false;
    backend.getObject = () =>
      Promise.resolve({
        ...head,
        sizeBytes: 1024 ** 3,
        body: (async function* () {
          try {
            for (;;) yield Buffer.alloc(65536);
          } finally {
            returned = true;
          }
        })(),
      });
    const raw = await client(port);
    raw.send(rawHead({ target: '/b/k' }));
    await raw.take(/^HTTP\/1.1 200 OK/);
    raw.destroy();
    await vi.waitFor(() => expect(returned).toBe(true));
  });
});

describe('a body that cannot be finished', () => {
  async function download(
    pieces: readonly (Buffer | Error)[],
    sizeBytes: number,
    expected: 'error' | 'break' = 'break',
  ): Promise<{ text: string; log: Harness['log'] }> {
    const { port, backend, send, log } = await serve();
    await send({ method: 'PUT', target: '/b/k', body: 'x' });
    const head = await backend.headObject({ bucket: 'b', key: 'k', authorize: () => undefined });
    backend.getObject = () =>
      Promise.resolve({
        ...head,
        sizeBytes,
        body: (async function* () {
          for (const piece of pieces) {
            if (piece instanceof Error) throw piece;
            yield piece;
            await delay(5);
          }
        })(),
      });
    const raw = await client(port);
    raw.send(rawHead({ target: '/b/k' }).replace('\r\n\r\n', '\r\nconnection: keep-alive\r\n\r\n'));
    if (expected === 'error') return { text: await raw.take(/^[^]*<\/Error>/), log };
    return { text: await raw.untilClosed(), log };
  }

  it('breaks the connection, so that nobody takes it for the whole', async () => {
    const { text, log } = await download([Buffer.from('good'), new Error('lost a shard')], 1000);
    expect(text).toMatch(/^HTTP\/1.1 200 OK\r\n[^]*content-length: 1000\r\n[^]*\r\n\r\ngood$/);
    expect(log.at(-1)?.fields).toMatchObject({ status: 200, broken: true });
    expect(
      log.some((line) => line.level === 'error' && String(line.fields['err']).includes('lost a shard')),
    ).toBe(true);
  });

  it('is answered by an error while nothing of it was sent', async () => {
    const { text } = await download([new Error('lost a shard')], 1000, 'error');
    expect(text).toMatch(/^HTTP\/1.1 500 [^]*<Code>InternalError<\/Code>/);
    expect(text).not.toContain('shard');
  });

  it('because it is shorter or longer than promised breaks it as well', async () => {
    const short = await download([Buffer.from('four')], 5);
    expect(short.text).toMatch(/\r\n\r\nfour$/);
    const long = await download([Buffer.from('four'), Buffer.from('five')], 6);
    expect(long.text).toMatch(/\r\n\r\nfour$/);
    const exact = await download([Buffer.from('four'), Buffer.from('five')], 4, 'error');
    expect(exact.text).toMatch(/^HTTP\/1.1 500 /);
  });
});

describe('closing', () => {
  it('lets requests in flight finish and takes no new connections', async () => {
    const { port, backend, server } = await serve();
    const gate = Promise.withResolvers<undefined>();
    backend.before = () => gate.promise;
    const idle = await client(port);
    const busy = await client(port);
    busy.send(rawHead({ target: '/b' }));
    await vi.waitFor(() => expect(backend.calls).toHaveLength(1));
    const closed = server.close(10_000);
    await idle.untilClosed();
    await expect(RawClient.open(port)).rejects.toThrow();
    gate.resolve(undefined);
    expect(await busy.untilClosed()).toMatch(/^HTTP\/1.1 200 OK\r\n[^]*connection: close/i);
    await closed;
  });

  it('cuts off what takes longer than the limit', async () => {
    const { port, backend, server } = await serve();
    const gate = Promise.withResolvers<undefined>();
    backend.before = () => gate.promise;
    const busy = await client(port);
    busy.send(rawHead({ target: '/b' }));
    await vi.waitFor(() => expect(backend.calls).toHaveLength(1));
    await server.close(50);
    expect(await busy.untilClosed()).toBe('');
    gate.resolve(undefined);
  });
});
