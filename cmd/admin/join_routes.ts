import { Hono } from 'hono';
import type { JoinDesk } from './join_desk_port.ts';
import type { AdminEnv } from './options.ts';

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
