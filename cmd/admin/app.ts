import { Hono, type Context } from 'hono';
import type { ClusterView } from './cluster_view.ts';
import { consoleRoutes } from './console/routes.ts';
import { describeNode, describeRepair } from './descriptions.ts';
import { joinRoutes } from './join_routes.ts';
import { nodeRoutes } from './node_routes.ts';
import { fromOwnPages } from './own_pages.ts';
import { objectRoutes } from './object_routes.ts';
import { quotaRoutes } from './quota_routes.ts';
import type { AdminEnv, AdminOptions } from './options.ts';
import { userRoutes } from './user_routes.ts';

/**
 * The admin listener: health for load balancers (open), the rest for administrators. A port of its own, since
 * `health` and `metrics` are legal bucket names.
 */
export function createAdminApp(options: AdminOptions): Hono<AdminEnv> {
  const app = new Hono<AdminEnv>();

  // Alive: the process answers. Ready: it can serve requests. `/health` is what a load balancer asks.
  app.get('/health/live', (c) => c.json({ status: 'ok' }));
  app.get('/health/ready', (c) => answerReadiness(c, options.view));
  app.get('/health', (c) => answerReadiness(c, options.view));

  app.use('*', fromOwnPages);
  // With a key of its own: who joins has the cluster's secret, and no administrator's key.
  app.route('/', joinRoutes(options.join));
  app.use('*', async (c, next) => {
    if (c.req.path === '/metrics' && options.mayReadMetrics(c.req.header('authorization'))) return next();
    const administrator = await options.authenticate(c.env.incoming);
    if ('refusal' in administrator) {
      c.header('WWW-Authenticate', 'Basic realm="s3d admin"');
      return c.json({ error: 'AccessDenied', message: administrator.refusal }, 401);
    }
    c.set('owner', administrator.owner);
    c.set('payload', administrator.payload);
    return next();
  });

  app.get('/metrics', async (c) => {
    c.header('Content-Type', options.registry.contentType);
    return c.body(await options.registry.metrics());
  });
  app.get('/cluster', async (c) => c.json(await describeCluster(options.view)));
  app.route('/', consoleRoutes(options));
  app.route('/', nodeRoutes(options));
  app.route('/', quotaRoutes(options));
  app.route('/', userRoutes(options));
  app.route('/', objectRoutes(options));

  app.notFound((c) => c.json({ error: 'NotFound', message: `nothing is at ${c.req.path}` }, 404));
  app.onError((error, c) => {
    options.logger.error({ err: error, path: c.req.path }, 'admin request failed');
    return c.json({ error: 'InternalError', message: 'the request failed; the log says why' }, 500);
  });
  return app;
}

async function answerReadiness(c: Context, view: ClusterView): Promise<Response> {
  const obstacles = await view.obstacles();
  return obstacles.length === 0
    ? c.json({ status: 'ok' })
    : c.json({ status: 'unavailable', obstacles }, 503);
}

async function describeCluster(view: ClusterView): Promise<object> {
  const [databases, nodes, repair] = await Promise.all([view.databases(), view.nodes(), view.repair()]);
  return {
    cluster_id: view.clusterId,
    db: databases,
    nodes: nodes.map(describeNode),
    repair: describeRepair(repair),
  };
}
