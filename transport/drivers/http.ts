import { createPrivateKey, X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import type { ClientTls, ServerTls } from '../driver.ts';
import { TransportError, messageOf } from '../errors.ts';
import { mib } from '../limits.ts';

/** Every lane is one POST to this path that never ends by itself; the number is the version of the framing. */
export const lanePath = '/s3d/lane/1';

/** HTTP/2 windows: for a stream and for the connection. Memory is bounded by the lanes' credit, not by these. */
export const http2StreamWindowBytes = 16 * mib;
export const http2ConnectionWindowBytes = 64 * mib;
/** Connections of one server. */
export const maxConnections = 1024;
/** Streams a connection may have open; a peer needs three. */
export const maxStreamsPerConnection = 16;
/** A connection on which nothing moves is dropped after this time; heartbeats move every quarter of a second. */
export const idleMs = 8000;

export function isLaneRequest(method: unknown, path: unknown): boolean {
  return method === 'POST' && path === lanePath;
}

export function requireServerTls(tls: ServerTls | undefined, driver: string): ServerTls {
  if (tls === undefined)
    throw new TypeError(`listenTransport: tls: the driver ${driver} needs cert, key and ca`);
  return tls;
}

export function requireClientTls(tls: ClientTls | undefined, driver: string): ClientTls {
  if (tls === undefined) throw new TypeError(`dialPeer: tls: the driver ${driver} needs the cluster's ca`);
  return tls;
}

/**
 * Checks that a pair can be served before anything is replaced by it.
 * @throws TransportError `refused` that says what is wrong.
 */
export function checkServerTls(tls: ServerTls): void {
  try {
    createSecureContext({ cert: tls.cert, key: tls.key, ca: tls.ca });
    if (!new X509Certificate(tls.cert).checkPrivateKey(createPrivateKey(tls.key))) {
      throw new Error('the key is not that of the certificate');
    }
  } catch (error) {
    throw new TransportError('refused', `the certificate can't be used: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

export function hostForUrl(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}
