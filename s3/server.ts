import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createHttpsServer, type Server as HttpsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { getRequestListener, type HttpBindings } from '@hono/node-server';
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import type { S3App } from './app.ts';
import { errorElement } from './error_reply.ts';
import { errorTable, S3Error } from './errors.ts';
import type { S3Env } from './exchange.ts';
import type { S3Logger } from './observe.ts';
import { xmlDeclaration } from './xml/write.ts';

/** A server's certificate chain and key, both PEM. */
export interface TlsIdentity {
  readonly cert: string | Buffer;
  readonly key: string | Buffer;
}

interface ServeS3Options {
  readonly app: S3App;
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  /** Absent: plain HTTP. */
  readonly tls?: TlsIdentity | undefined;
  readonly logger: S3Logger;
  readonly limits?: Partial<ServerLimits>;
}

export interface ServerLimits {
  /** More are closed as they come. */
  readonly maxConnections: number;
  /** For a connection's TLS handshake, and from there (or a request's first byte) to the end of its headers. */
  readonly headersTimeoutMs: number;
  /** A connection without a request. */
  readonly keepAliveTimeoutMs: number;
  /** A connection on which nothing moves, whatever it is doing: the last resort behind the body timeouts of the app. */
  readonly socketIdleMs: number;
  /** All headers of one request. */
  readonly maxHeaderBytes: number;
}

const defaultServerLimits: ServerLimits = {
  maxConnections: 4096,
  headersTimeoutMs: 20_000,
  keepAliveTimeoutMs: 65_000,
  socketIdleMs: 180_000,
  maxHeaderBytes: 16 * 1024,
};

export interface S3Server {
  readonly port: number;
  /**
   * Takes no more connections, lets requests in flight finish for `graceMs` milliseconds, then cuts off what is left.
   */
  close(graceMs: number): Promise<void>;
  /** New connections are made with this certificate; throws if it can't be used, and then goes on with the old one. */
  reloadCertificates(tls: TlsIdentity): void;
}

/** Bytes of a body that wait in memory before the handler asks for more. */
const bodyHighWaterMarkBytes = 256 * 1024;

/** Serves the app over HTTPS (or HTTP) 1.1. Resolves when it listens. */
export async function serveS3(options: ServeS3Options): Promise<S3Server> {
  const limits = { ...defaultServerLimits, ...options.limits };
  let draining = false;
  const waiting = new WeakSet<IncomingMessage>();
  const targets = new WeakMap<IncomingMessage, string>();
  const listener = getRequestListener(
    async (request, env) => {
      const { incoming, outgoing } = env as HttpBindings;
      const bindings: S3Env['Bindings'] = {
        incoming,
        outgoing,
        target: targets.get(incoming) ?? '/',
        expectsContinue: waiting.has(incoming),
        draining: () => draining,
      };
      const response = await options.app.fetch(request, bindings);
      // Hono makes a copy of the answer to a HEAD, which doesn't tell any more that it was sent, where something else
      // in the process has let the adapter replace the global Response.
      return outgoing.headersSent || outgoing.destroyed ? RESPONSE_ALREADY_SENT : response;
    },
    {
      hostname: 'localhost',
      overrideGlobalObjects: false,
      // The app reads, or leaves alone, the rest of a body itself: it knows whether the client waits for 100 Continue.
      autoCleanupIncoming: false,
      errorHandler: badRequest,
    },
  );

  function onRequest(incoming: IncomingMessage, outgoing: ServerResponse): void {
    // A URL object would resolve the dots and merge what it takes for the same; a key must arrive as it was sent.
    targets.set(incoming, incoming.url ?? '/');
    incoming.url = '/';
    void listener(incoming, outgoing);
  }

  const serverOptions = {
    maxHeaderSize: limits.maxHeaderBytes,
    headersTimeout: limits.headersTimeoutMs,
    // Bodies may be long; the app sees to it that they keep coming.
    requestTimeout: 0,
    keepAliveTimeout: limits.keepAliveTimeoutMs,
    connectionsCheckingInterval: Math.min(5_000, Math.max(50, limits.headersTimeoutMs / 4)),
    highWaterMark: bodyHighWaterMarkBytes,
    noDelay: true,
  };
  const { tls } = options;
  const server =
    tls === undefined
      ? createHttpServer(serverOptions, onRequest)
      : createHttpsServer(
          {
            ...serverOptions,
            ...tls,
            minVersion: 'TLSv1.2',
            ALPNProtocols: ['http/1.1'],
            handshakeTimeout: limits.headersTimeoutMs,
          },
          onRequest,
        );
  server.maxConnections = limits.maxConnections;
  server.timeout = limits.socketIdleMs;
  server.on('checkContinue', (incoming: IncomingMessage, outgoing: ServerResponse) => {
    waiting.add(incoming);
    onRequest(incoming, outgoing);
  });
  // Other expectations are nothing to us; S3 ignores them too.
  server.on('checkExpectation', onRequest);
  server.on('clientError', refuseGarbage);
  server.on('drop', () =>
    options.logger.warn({ maxConnections: limits.maxConnections }, 'a connection was refused'),
  );

  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port, options.host, () => {
      server.off('error', reject);
      resolve();
    });
  });
  server.on('error', (error) => options.logger.error({ err: error }, 'the server failed'));

  return {
    port: (server.address() as AddressInfo).port,
    async close(graceMs) {
      draining = true;
      const closed = new Promise<void>((resolve) => {
        server.close(() => {
          resolve();
        });
      });
      server.closeIdleConnections();
      const timer = setTimeout(() => {
        server.closeAllConnections();
      }, graceMs);
      await closed;
      clearTimeout(timer);
    },
    reloadCertificates(identity) {
      if (!isHttps(server)) throw new Error('This server has no certificates: it speaks plain HTTP.');
      server.setSecureContext({ ...identity, minVersion: 'TLSv1.2' });
    },
  };
}

function isHttps(server: object): server is HttpsServer {
  return 'setSecureContext' in server;
}

function notUnderstood(): S3Error {
  return new S3Error('InvalidRequest', 'The request could not be understood.');
}

function bodyOf(error: S3Error): string {
  return xmlDeclaration + errorElement(error, { resource: '', requestId: '' });
}

/** A request that has no usable Host header never reaches the app. */
function badRequest(): Response {
  return new Response(bodyOf(notUnderstood()), {
    status: errorTable.InvalidRequest.status,
    headers: { 'content-type': 'application/xml', connection: 'close', server: 's3d' },
  });
}

/**
 * What isn't HTTP, or has too big headers, is answered once and closed. So is a connection on which no request comes to
 * an end: clients try again where they are told that it was a matter of time.
 */
function refuseGarbage(
  error: NodeJS.ErrnoException,
  socket: Socket | { readonly writable: boolean; destroy(): void; end(text: string): void },
): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const late = error.code === 'ERR_HTTP_REQUEST_TIMEOUT';
  const body = bodyOf(late ? new S3Error('RequestTimeout') : notUnderstood());
  const status =
    error.code === 'HPE_HEADER_OVERFLOW' ? '431 Request Header Fields Too Large' : '400 Bad Request';
  socket.end(
    `HTTP/1.1 ${status}\r\nContent-Type: application/xml\r\nContent-Length: ${Buffer.byteLength(body)}\r\n` +
      `Connection: close\r\nServer: s3d\r\n\r\n${body}`,
  );
}
