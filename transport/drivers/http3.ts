import type * as Http3 from '@currentspace/http3';
import { CreditBudget } from '../body_reader.ts';
import type {
  AcceptStream,
  ByteStream,
  Connection,
  Driver,
  DriverConnectOptions,
  DriverListenOptions,
  Listener,
  ServerTls,
} from '../driver.ts';
import { TransportError, messageOf } from '../errors.ts';
import { mib, receiveBudgetBytes } from '../limits.ts';
import { DuplexByteStream } from './duplex.ts';
import {
  checkServerTls,
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

/**
 * QUIC (Cloudflare's quiche). The library is loaded when it is first needed, since it has no binary for every
 * platform. Its server binds HTTP/2 on TCP of the same port too and has no switch against it; what comes in there is a
 * lane like any other.
 */
export const http3Driver: Driver = {
  name: 'http3',
  // Of the process, as the socket is that all of the library's client connections share.
  receiveBudget: new CreditBudget(receiveBudgetBytes),
  listen,
  connect,
};

/** Measured: below these QUIC's windows, not the machine, limit a transfer. */
const windows = { initialMaxData: 1_000_000_000, initialMaxStreamDataBidiLocal: 64 * mib };
/** H3_NO_ERROR and H3_REQUEST_CANCELLED (RFC 9114, section 8.1). */
const noError = 0x100;
const requestCancelled = 0x10c;
/** How long the answer to a request that is no lane may take to leave. */
const answerMs = 500;
/** Port 0 is free for UDP first and must then be free for TCP as well. */
const freePortAttempts = 8;

/** @throws TransportError `unreachable` where the library has no binary for this platform. */
export async function loadHttp3(): Promise<typeof Http3> {
  try {
    return await import('@currentspace/http3');
  } catch (error) {
    throw new TransportError('unreachable', `HTTP/3 isn't available here: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

async function listen(options: DriverListenOptions, accept: AcceptStream): Promise<Listener> {
  const tls = requireServerTls(options.tls, 'http3');
  checkServerTls(tls);
  const library = await loadHttp3();
  for (let attempt = 1; ; attempt++) {
    try {
      const listener = new Http3Listener(library, options, accept);
      await listener.open(tls, options.port);
      return listener;
    } catch (error) {
      if (options.port !== 0 || attempt === freePortAttempts) throw error;
    }
  }
}

class Http3Listener implements Listener {
  readonly host: string;
  readonly #library: typeof Http3;
  readonly #options: DriverListenOptions;
  readonly #accept: AcceptStream;
  #server: Http3.Http3SecureServer | undefined;
  #tls: ServerTls | undefined;
  #port = 0;

  constructor(library: typeof Http3, options: DriverListenOptions, accept: AcceptStream) {
    this.host = options.host;
    this.#library = library;
    this.#options = options;
    this.#accept = accept;
  }

  get port(): number {
    return this.#port;
  }

  async open(tls: ServerTls, port: number): Promise<void> {
    const sessions = new Map<number, Http3.Http3ServerSession>();
    const server = this.#library.createSecureServer({
      cert: tls.cert,
      key: tls.key,
      runtimeMode: 'portable',
      ...windows,
      maxIdleTimeoutMs: idleMs,
      initialMaxStreamsBidi: maxStreamsPerConnection,
      maxConnections,
      metricsIntervalMs: 0,
      settings: {
        initialWindowSize: http2StreamWindowBytes,
        maxConcurrentStreams: maxStreamsPerConnection,
      },
    });
    server.on('session', (session: Http3.Http3ServerSession) => this.#session(session, sessions));
    server.on('stream', (stream: Http3.ServerHttp3Stream, headers: Http3.IncomingHeaders) => {
      this.#stream(stream, headers, sessions);
    });
    await listening(server, port, this.host);
    server.on('error', (error: Error) => {
      this.#options.logger?.warn({ error: error.message }, 'the HTTP/3 listener reports an error');
    });
    this.#server = server;
    this.#tls = tls;
    this.#port = server.address()?.port ?? port;
  }

  #session(session: Http3.Http3ServerSession, sessions: Map<number, Http3.Http3ServerSession>): void {
    session.on('error', (error: Error) => {
      this.#options.logger?.info({ error: error.message }, 'a connection failed');
    });
    const http2 = session._h2Session;
    if (http2 !== null) {
      http2.setTimeout(idleMs, () => http2.destroy());
      if ('setLocalWindowSize' in http2 && typeof http2.setLocalWindowSize === 'function') {
        http2.setLocalWindowSize(http2ConnectionWindowBytes);
      }
      return;
    }
    const handle = session._connHandle;
    sessions.set(handle, session);
    session.on('close', () => sessions.delete(handle));
  }

  #stream(
    stream: Http3.ServerHttp3Stream,
    headers: Http3.IncomingHeaders,
    sessions: ReadonlyMap<number, Http3.Http3ServerSession>,
  ): void {
    // The handle is -1 on a stream that came over HTTP/2.
    const session = sessions.get(stream._connHandle);
    const drop = (): void => {
      if (session === undefined) stream.close();
      else this.#settle(session.close(noError));
    };
    if (!isLaneRequest(headers[':method'], headers[':path'])) {
      stream.on('error', (error: Error) => {
        this.#options.logger?.info({ error: error.message }, 'a request that is no lane failed');
      });
      stream.resume();
      stream.respond({ ':status': '404' });
      stream.end();
      setTimeout(drop, answerMs).unref();
      return;
    }
    stream.respond({ ':status': '200' });
    const abort = (): void => stream.close(session === undefined ? 0 : requestCancelled);
    this.#accept(new DuplexByteStream(stream, abort), { address: session?.remoteAddress ?? '', drop });
  }

  #settle(closing: Promise<void>): void {
    closing.catch((error: unknown) => {
      this.#options.logger?.warn({ error: messageOf(error) }, 'closing a connection failed');
    });
  }

  async reload(tls: ServerTls): Promise<void> {
    checkServerTls(tls);
    const before = this.#tls;
    await this.close();
    try {
      await this.open(tls, this.#port);
    } catch (error) {
      if (before !== undefined) await this.open(before, this.#port);
      throw error;
    }
  }

  close(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (server === undefined) return Promise.resolve();
    return new Promise((resolve, reject) => {
      server.close((error) => (error === undefined ? resolve() : reject(error))).catch(reject);
    });
  }
}

function listening(server: Http3.Http3SecureServer, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.once('listening', () => {
      server.off('error', reject);
      resolve();
    });
    server.listen(port, host);
  });
}

async function connect(options: DriverConnectOptions): Promise<Connection> {
  const tls = requireClientTls(options.tls, 'http3');
  const library = await loadHttp3();
  const session = library.connect(
    { host: options.host, port: options.port },
    {
      ca: tls.ca,
      servername: options.servername,
      rejectUnauthorized: tls.insecureSkipVerify !== true,
      runtimeMode: 'portable',
      ...windows,
      maxIdleTimeoutMs: idleMs,
      connectTimeoutMs: options.timeoutMs,
      ...(options.signal === undefined ? {} : { signal: options.signal }),
      metricsIntervalMs: 0,
    },
  );
  const connection = new Http3Connection(session);
  try {
    await session.ready();
  } catch (error) {
    await connection.close();
    throw connectError(connection.error ?? error, options);
  }
  return connection;
}

/** The library says no more than this when the server's certificate isn't good. */
const closedEarly = 'session closed before handshake completed';

function connectError(error: unknown, options: DriverConnectOptions): TransportError {
  const message = messageOf(error);
  if (!message.includes(closedEarly)) {
    return new TransportError('unreachable', `HTTP/3: ${message}`, { cause: error });
  }
  return new TransportError(
    'refused',
    `HTTP/3: ${message}; does the certificate of ${options.host}:${options.port} come from the cluster's CA ` +
      `and name ${options.servername}?`,
    { cause: error },
  );
}

class Http3Connection implements Connection {
  readonly via = 'http3';
  readonly #session: Http3.Http3ClientSession;
  #closing: Promise<void> | undefined;
  #error: Error | undefined;
  #onLost: ((error: Error) => void) | undefined;

  constructor(session: Http3.Http3ClientSession) {
    this.#session = session;
    session.on('error', (error: Error) => (this.#error ??= error));
    session.on('goaway', () => this.#lost());
    session.on('close', () => this.#lost());
  }

  get error(): Error | undefined {
    return this.#error;
  }

  #lost(): void {
    if (this.#closing === undefined)
      this.#onLost?.(this.#error ?? new Error('the HTTP/3 connection was closed'));
  }

  async openStream(): Promise<ByteStream> {
    const stream = await this.#session.requestAsync({
      ':method': 'POST',
      ':path': lanePath,
      ':scheme': 'https',
      ':authority': 's3d',
    });
    return new DuplexByteStream(stream, () => stream.close(requestCancelled));
  }

  onLost(listener: (error: Error) => void): void {
    this.#onLost = listener;
  }

  close(): Promise<void> {
    this.#closing ??= this.#session.close(noError);
    return this.#closing;
  }
}
