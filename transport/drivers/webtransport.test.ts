import { X509Certificate } from 'node:crypto';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { TestAuthority } from '../testing/certificates.ts';

/**
 * Why there is no `webtransport` driver: what `@fails-components/webtransport` 1.6.8 can't do over HTTP/2, the only way
 * that it has where its native package isn't installed (that one is downloaded from a code host). The day one of these
 * fails, the library has learnt it.
 */
interface Session {
  readonly ready: Promise<void>;
  readonly closed: Promise<unknown>;
  createBidirectionalStream(): Promise<Stream>;
  readonly incomingBidirectionalStreams: ReadableStream<Stream>;
  close(): void;
}

interface Stream {
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array>;
}

interface Server {
  readonly ready: Promise<void>;
  startServer(): void;
  stopServer(): void;
  address(): { readonly port: number };
  sessionStream(path: string): ReadableStream<Session>;
}

interface Library {
  readonly Http2Server: new (options: object) => Server;
  readonly WebTransport: new (url: string, options: object) => Session;
}

const authority = new TestAuthority();
const tls = authority.issue('node-1.c-1.s3d');
let library: Library;
let server: Server;
let url: string;

beforeAll(async () => {
  // It tells the console that its native package isn't there.
  vi.spyOn(console, 'error').mockImplementation(() => undefined);
  vi.spyOn(console, 'log').mockImplementation(() => undefined);
  library = (await import('@fails-components/webtransport')) as unknown as Library;
  server = new library.Http2Server({
    port: 0,
    host: '127.0.0.1',
    secret: 'x',
    cert: tls.cert,
    privKey: tls.key,
  });
  server.startServer();
  await server.ready;
  url = `https://127.0.0.1:${server.address().port}/lane`;
  void serve(server.sessionStream('/lane'));
});

afterAll(() => {
  server.stopServer();
  vi.restoreAllMocks();
});

/** Gives back whatever a stream brings. */
async function serve(sessions: ReadableStream<Session>): Promise<void> {
  for await (const session of sessions) {
    session.closed.catch(() => undefined);
    void (async () => {
      await session.ready;
      for await (const { readable, writable } of session.incomingBidirectionalStreams) {
        readable.pipeTo(writable).catch(() => undefined);
      }
    })().catch(() => undefined);
  }
}

function dial(options: object): Session {
  const session = new library.WebTransport(url, { ...options, forceReliable: true });
  session.closed.catch(() => undefined);
  return session;
}

async function echo(session: Session, bytes: Uint8Array): Promise<number> {
  const { readable, writable } = await session.createBidirectionalStream();
  const writer = writable.getWriter();
  await writer.write(bytes);
  await writer.close();
  let count = 0;
  for await (const chunk of readable) count += chunk.length;
  return count;
}

it('takes no certificate authority: a server with a certificate of the cluster’s own is refused', async () => {
  await expect(dial({ ca: authority.ca }).ready).rejects.toThrow();
});

it('gives no stream any more after a hundred, closed ones too', { timeout: 120_000 }, async () => {
  const hash = Buffer.from(new X509Certificate(tls.cert).fingerprint256.replaceAll(':', ''), 'hex');
  // Only for certificates that are good for two weeks at most, and without a look at the name in them.
  const session = dial({ serverCertificateHashes: [{ algorithm: 'sha-256', value: hash }] });
  await session.ready;
  for (let count = 0; count < 100; count += 1) expect(await echo(session, Buffer.alloc(64, 1))).toBe(64);
  await expect(echo(session, Buffer.alloc(64, 1))).rejects.toThrow('No streams available');
  session.close();
});
