import { Hono, type MiddlewareHandler } from 'hono';
import { html } from 'hono/html';
import { BackendError } from '../../../backend/errors.ts';
import { ownBucket } from '../own_bucket.ts';
import type { AdminEnv, AdminOptions } from '../options.ts';
import { browsePage } from './browse.ts';
import { overviewPage } from './overview.ts';
import { page, pagePolicy, stylesheet } from './page.ts';

const bucketsShown = 1000;
const keysPerPage = 200;

/** The web console: pages that show and change nothing, without script. */
export function consoleRoutes(options: AdminOptions): Hono<AdminEnv> {
  const { backend, view } = options;
  const app = new Hono<AdminEnv>();

  app.get('/console.css', (c) => c.body(stylesheet, 200, { 'Content-Type': 'text/css; charset=utf-8' }));

  app.get('/', asPage, async (c) => {
    const { buckets } = await backend.listBuckets({ owner: c.var.owner, maxBuckets: bucketsShown });
    return c.html(overviewPage(view, buckets));
  });

  app.get('/browse/:bucket', asPage, async (c) => {
    const bucket = c.req.param('bucket');
    const prefix = c.req.query('prefix') ?? '';
    const after = c.req.query('after');
    const listing = await backend.listObjects({
      bucket,
      prefix,
      delimiter: '/',
      maxKeys: keysPerPage,
      ...(after === undefined ? {} : { startAfter: after }),
      authorize: (found) => ownBucket(c.var.owner, found),
    });
    return c.html(browsePage({ bucket, prefix }, listing));
  });

  app.onError(async (error, c) => {
    if (!(error instanceof BackendError)) throw error;
    return c.html(page(error.code, html`<p>${error.message}</p>`), error.code === 'AccessDenied' ? 403 : 404);
  });
  return app;
}

const asPage: MiddlewareHandler<AdminEnv> = async (c, next) => {
  await next();
  c.header('Content-Security-Policy', pagePolicy);
  c.header('X-Content-Type-Options', 'nosniff');
  c.header('Referrer-Policy', 'no-referrer');
  c.header('Cache-Control', 'no-store');
};
