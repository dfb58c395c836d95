import type { IncomingMessage } from 'node:http';
import { Hono } from 'hono';
import type { AdminEnv } from './options.ts';

/** What a host that is to become a node may ask for. */
export interface JoinDesk {
  /** Whether the request proves knowledge of the cluster's secret; else why not. */
  readonly authenticate: (request: IncomingMessage) => Promise<{ readonly refusal?: string }>;
  /** The config of this gateway as it was written, with the nodes of today. */
  readonly config: () => Promise<object>;
}

/**
 * `GET /join`: the cluster's config, for hosts with the cluster's secret. It holds keys, as the file does: over plain HTTP
 * it isn't there.
 */
export function joinRoutes(desk: JoinDesk | undefined): Hono<AdminEnv> {
  const app = new Hono<AdminEnv>();
  if (desk === undefined) return app;
  app.get('/join', async (c) => {
    const { refusal } = await desk.authenticate(c.env.incoming);
    if (refusal !== undefined) return c.json({ error: 'AccessDenied', message: refusal }, 401);
    return c.json({ config: await desk.config() });
  });
  return app;
}
