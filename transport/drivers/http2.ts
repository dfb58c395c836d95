import {
  connect as connectHttp2,
  constants,
  createSecureServer,
  type ClientHttp2Session,
  type Http2SecureServer,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import type { AddressInfo } from 'node:net';
import type {
  AcceptStream,
  ByteStream,
  Connection,
  Driver,
  DriverConnectOptions,
  DriverListenOptions,
  Listener,
} from '../driver.ts';
import { TransportError, messageOf } from '../errors.ts';
import { handshakeMs } from '../limits.ts';
import { DuplexByteStream } from './duplex.ts';
import {
  checkServerTls,
  hostForUrl,
  http2ConnectionWindowBytes,
  http2StreamWindowBytes,
  idleMs,
  isLaneRequest,
  lanePath,
  maxConnections,
  maxStreamsPerConnection,
  requireClientTls,
  requireServerTls,
} from './http.ts';

/** HTTP/2 over TLS 1.3 on TCP: everywhere, also where UDP is dropped. */
export const http2Driver: Driver = { name: 'http2', listen, connect };

async function listen(options: DriverListenOptions, accept: AcceptStream): Promise<Listener> {
  const tls = requireServerTls(options.tls, 'http2');
  checkServerTls(tls);
  const sessions = new Set<ServerHttp2Session>();
  const server = createSecureServer({
    cert: tls.cert,
    key: tls.key,
    minVersion: 'TLSv1.3',
    handshakeTimeout: handshakeMs,
    settings: {
      initialWindowSize: http2StreamWindowBytes,
      maxConcurrentStreams: maxStreamsPerConnection,
      enablePush: false,
    },
  });
  server.maxConnections = maxConnections;
  server.on('session', (session) => {
    sessions.add(session);
    session.setLocalWindowSize(http2ConnectionWindowBytes);
    session.setTimeout(idleMs, () => session.destroy());
    session.on('error', (error: Error) => {
      options.logger?.info({ error: error.message }, 'an HTTP/2 connection failed');
    });
    session.on('close', () => sessions.delete(session));
  });
  server.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
    if (!isLaneRequest(headers[':method'], headers[':path'])) {
      stream.on('error', (error) => {
        options.logger?.info({ error: error.message }, 'an HTTP/2 request that is no lane failed');
      });
      stream.respond({ ':status': 404 }, { endStream: true });
      stream.close(constants.NGHTTP2_NO_ERROR);
      return;
    }
    stream.respond({ ':status': 200 });
    const address = stream.session?.socket.remoteAddress ?? '';
    accept(new DuplexByteStream(stream, () => stream.close(constants.NGHTTP2_CANCEL)), {
      address,
      drop: () => {
        if (stream.session === undefined) stream.close(constants.NGHTTP2_CANCEL);
        else stream.session.destroy();
      },
    });
  });
  const port = await bind(server, options);
  server.on('error', (error: Error) => {
    options.logger?.warn({ error: error.message }, 'the HTTP/2 listener reports an error');
  });
  return {
    host: options.host,
    port,
    reload: async (next) => {
      checkServerTls(next);
      server.setSecureContext({ cert: next.cert, key: next.key, minVersion: 'TLSv1.3' });
    },
    close: () => closeServer(server, sessions),
  };
}

function bind(server: Http2SecureServer, options: DriverListenOptions): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port, options.host, () => {
      server.off('error', reject);
      resolve((server.address() as AddressInfo).port);
    });
  });
}

function closeServer(server: Http2SecureServer, sessions: Set<ServerHttp2Session>): Promise<void> {
  return new Promise((resolve, reject) => {
    server.close((error) => {
      if (error === undefined) resolve();
      else reject(error);
    });
    for (const session of sessions) session.destroy();
  });
}

async function connect(options: DriverConnectOptions): Promise<Connection> {
  const tls = requireClientTls(options.tls, 'http2');
  const session = connectHttp2(`https://${hostForUrl(options.host)}:${options.port}`, {
    ca: tls.ca,
    servername: options.servername,
    rejectUnauthorized: tls.insecureSkipVerify !== true,
    minVersion: 'TLSv1.3',
    settings: { initialWindowSize: http2StreamWindowBytes, enablePush: false },
  });
  try {
    await connected(session, options);
  } catch (error) {
    session.destroy();
    throw connectError(error);
  }
  session.setLocalWindowSize(http2ConnectionWindowBytes);
  return new Http2Connection(session);
}

function connected(session: ClientHttp2Session, options: DriverConnectOptions): Promise<void> {
  const { timeoutMs, signal } = options;
  return new Promise((resolve, reject) => {
    const settle = (error: Error | undefined): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
      if (error === undefined) resolve();
      else reject(error);
    };
    const timer = setTimeout(() => settle(new Error(`no connection in ${timeoutMs} ms`)), timeoutMs);
    const onAbort = (): void => settle(new Error('given up'));
    signal?.addEventListener('abort', onAbort);
    if (signal?.aborted === true) onAbort();
    session.once('connect', () => settle(undefined));
    // Stays: a session that is destroyed while it connects reports an error afterwards.
    session.on('error', settle);
  });
}

function connectError(error: unknown): TransportError {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  // What OpenSSL calls them: CERT_HAS_EXPIRED, UNABLE_TO_VERIFY_LEAF_SIGNATURE, SELF_SIGNED_CERT_IN_CHAIN, ...
  const certificate = /^ERR_TLS|CERT|VERIFY|SELF_SIGNED/.test(code);
  return new TransportError(certificate ? 'refused' : 'unreachable', `HTTP/2: ${messageOf(error)}`, {
    cause: error,
  });
}

class Http2Connection implements Connection {
  readonly via = 'http2';
  readonly #session: ClientHttp2Session;
  #closed = false;
  #error: Error | undefined;
  #onLost: ((error: Error) => void) | undefined;

  constructor(session: ClientHttp2Session) {
    this.#session = session;
    session.on('error', (error: Error) => (this.#error ??= error));
    session.on('goaway', () => session.destroy());
    session.on('close', () => {
      if (!this.#closed) this.#onLost?.(this.#error ?? new Error('the HTTP/2 connection was closed'));
    });
  }

  async openStream(): Promise<ByteStream> {
    if (this.#session.destroyed) throw new TransportError('unreachable', 'the HTTP/2 connection is closed');
    const stream = this.#session.request({ ':method': 'POST', ':path': lanePath }, { endStream: false });
    return new DuplexByteStream(stream, () => stream.close(constants.NGHTTP2_CANCEL));
  }

  onLost(listener: (error: Error) => void): void {
    this.#onLost = listener;
  }

  close(): Promise<void> {
    this.#closed = true;
    return new Promise((resolve) => {
      if (this.#session.destroyed) {
        resolve();
        return;
      }
      this.#session.once('close', () => resolve());
      this.#session.destroy();
    });
  }
}
