import { Hono, type Context } from 'hono';
import { z } from 'zod';
import { BackendError } from '../../backend/errors.ts';
import { quotaOf, quotaText } from '../../backend/quotas/quota.ts';
import { readJson } from './node_routes.ts';
import type { AdminEnv, AdminOptions } from './options.ts';

const amount = z.int().min(0);
const quota = z
  .strictObject({ max_bytes: amount.optional(), max_objects: amount.optional() })
  .refine((body) => body.max_bytes !== undefined || body.max_objects !== undefined, {
    error: 'expected max_bytes, max_objects or both',
  });

/**
 * `GET`, `PUT` and `DELETE /buckets/:bucket/quota`: how much a bucket may hold, and what it holds. Whose bucket it is
 * doesn't matter here: quotas are the operator's.
 */
export function quotaRoutes(options: AdminOptions): Hono<AdminEnv> {
  const { backend } = options;
  const app = new Hono<AdminEnv>();
  const authorize = (): void => undefined;

  app.get('/buckets/:bucket/quota', async (c) => {
    const bucket = await backend.headBucket({ bucket: nameOf(c), authorize });
    const setting = bucket.settings.get('quota');
    const { maxBytes, maxObjects } = setting === undefined ? {} : quotaOf(setting);
    const used = (await options.usages()).find((usage) => usage.bucket === bucket.name);
    return c.json({
      bucket: bucket.name,
      max_bytes: maxBytes ?? null,
      max_objects: maxObjects ?? null,
      used_bytes: used?.bytes ?? 0,
      used_objects: used?.versions ?? 0,
    });
  });

  app.put('/buckets/:bucket/quota', async (c) => {
    const parsed = quota.safeParse(await readJson(c));
    if (!parsed.success) {
      const text = parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).join('; ');
      return c.json({ error: 'InvalidArgument', message: text }, 400);
    }
    const { max_bytes: maxBytes, max_objects: maxObjects } = parsed.data;
    const text = quotaText({
      ...(maxBytes === undefined ? {} : { maxBytes }),
      ...(maxObjects === undefined ? {} : { maxObjects }),
    });
    await backend.updateBucketSettings({ bucket: nameOf(c), authorize, change: () => ({ quota: text }) });
    return c.json({ status: 'ok' });
  });

  app.delete('/buckets/:bucket/quota', async (c) => {
    await backend.updateBucketSettings({
      bucket: nameOf(c),
      authorize,
      change: () => ({ quota: undefined }),
    });
    return c.json({ status: 'ok' });
  });

  app.onError((error, c) => {
    if (!(error instanceof BackendError)) throw error;
    const missing = error.code === 'NoSuchBucket';
    return c.json({ error: error.code, message: error.message }, missing ? 404 : 400);
  });
  return app;
}

function nameOf(c: Context<AdminEnv>): string {
  return c.req.param('bucket') ?? '';
}
