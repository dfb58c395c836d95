import type { MiddlewareHandler } from 'hono';

const reading: ReadonlySet<string> = new Set(['GET', 'HEAD']);

/**
 * Refuses changes that a browser sends for a page of another origin: with Basic credentials it would send them along.
 * Browsers tell where a request comes from by `Sec-Fetch-Site`, which no page can forge; other clients don't send it.
 */
export const fromOwnPages: MiddlewareHandler = async (c, next) => {
  const site = c.req.header('sec-fetch-site');
  if (!reading.has(c.req.method) && site !== undefined && site !== 'same-origin' && site !== 'none') {
    return c.json({ error: 'AccessDenied', message: 'the request comes from a page of another origin' }, 403);
  }
  return next();
};
