import { createMiddleware } from 'hono/factory';
import type { S3Env } from '../exchange.ts';
import { Query } from '../http/query.ts';
import { parseResource } from '../resource.ts';

interface ResourceOptions {
  /** Buckets are also found in the Host header below this domain. */
  readonly domain?: string | undefined;
  /** Below this domain, as websites. */
  readonly websiteDomain?: string | undefined;
}

/** Finds out what the request is about: service, bucket or object, and the query. */
export function findResource(options: ResourceOptions): ReturnType<typeof createMiddleware<S3Env>> {
  return createMiddleware<S3Env>(async function resource(c, next) {
    const exchange = c.get('exchange');
    exchange.resource = parseResource(exchange.target.rawPath, {
      host: exchange.headers.get('host'),
      domain: options.domain,
      websiteDomain: options.websiteDomain,
    });
    exchange.query = exchange.resource.website === true ? Query.empty : Query.parse(exchange.target.rawQuery);
    await next();
  });
}
