import { createServer as createHttp } from 'node:http';
import { createServer as createHttps } from 'node:https';
import { getRequestListener } from '@hono/node-server';
import type { Identity } from '../certificates/identity.ts';
import { createAdminApp } from './app.ts';
import type { AdminOptions } from './options.ts';

export interface AdminServer {
  readonly port: number;
  reloadCertificates(identity: Identity): void;
  close(): Promise<void>;
}

/** Listens with the admin app. Without an identity (`tls = false`): plain HTTP. */
export async function serveAdmin(
  options: AdminOptions & {
    readonly host: string;
    readonly port: number;
    readonly identity: Identity | undefined;
  },
): Promise<AdminServer> {
  const app = createAdminApp(options);
  // The library would replace the global Response, and with it what the S3 listener knows by identity.
  const listener = getRequestListener(app.fetch, { overrideGlobalObjects: false });
  const { identity } = options;
  const handler: Parameters<typeof createHttp>[1] = (request, response) => void listener(request, response);
  const limits = { requestTimeout: 300_000, headersTimeout: 10_000, keepAliveTimeout: 30_000 };
  const secure =
    identity === undefined
      ? undefined
      : createHttps({ ...limits, cert: identity.cert, key: identity.key, minVersion: 'TLSv1.2' }, handler);
  const server = secure ?? createHttp(limits, handler);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port, options.host, resolve);
  });
  return {
    port: options.port,
    reloadCertificates: (next) => secure?.setSecureContext({ cert: next.cert, key: next.key }),
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
    },
  };
}
