import { getRequestListener } from '@hono/node-server';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { databaseApp, type AppOptions } from './app.ts';

interface ListenerOptions extends AppOptions {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** PEM. */
  readonly tls: { readonly cert: string | Buffer; readonly key: string | Buffer };
}

/** The HTTPS listener of the REST service. */
export interface RestListener {
  readonly host: string;
  readonly port: number;
  /** New connections get these. */
  reloadCertificates(tls: ListenerOptions['tls']): void;
  /** Takes no more connections; ends those that are idle at once and the others after a grace. */
  close(): Promise<void>;
}

const headersTimeoutMs = 10_000;
const keepAliveTimeoutMs = 65_000;
const closeGraceMs = 2000;
const maxConnections = 4096;

/** Resolves once the port is bound. */
export async function listenRest(options: ListenerOptions): Promise<RestListener> {
  const app = databaseApp(options);
  const { cert, key } = options.tls;
  const listener = getRequestListener(app.fetch, { overrideGlobalObjects: false });
  const server = createServer(
    {
      cert,
      key,
      minVersion: 'TLSv1.3',
      headersTimeout: headersTimeoutMs,
      keepAliveTimeout: keepAliveTimeoutMs,
      noDelay: true,
    },
    (incoming, outgoing) => void listener(incoming, outgoing),
  );
  server.maxConnections = maxConnections;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port, options.host, () => {
      server.off('error', reject);
      resolve();
    });
  });
  server.on('error', (error) => options.logger.error({ error: error.message }, 'the REST listener failed'));
  return {
    host: options.host,
    port: (server.address() as AddressInfo).port,
    reloadCertificates: (tls) => server.setSecureContext({ ...tls, minVersion: 'TLSv1.3' }),
    close: () => closeServer(server),
  };
}

async function closeServer(server: Server): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeIdleConnections();
  const timer = setTimeout(() => server.closeAllConnections(), closeGraceMs);
  await closed;
  clearTimeout(timer);
}
