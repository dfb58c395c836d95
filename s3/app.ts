import { randomBytes } from 'node:crypto';
import { Hono } from 'hono';
import type { AccountDirectory, CredentialStore } from '../auth/credentials.ts';
import type { Backend } from '../backend/backend.ts';
import { Checksums } from '../backend/checksums/checksums.ts';
import { accessPolicies } from './access/known_policies.ts';
import type { Call, Exchange, S3Env, RequestLog, Services } from './exchange.ts';
import { defaultLimits, type S3Limits } from './limits.ts';
import { Answerer } from './middleware/answer.ts';
import { authentication } from './middleware/authentication.ts';
import { crossOrigin } from './middleware/cors.ts';
import { beginExchange } from './middleware/exchange.ts';
import { inFlightLimit } from './middleware/in_flight_limit.ts';
import { findResource } from './middleware/resource.ts';
import type { S3Logger, S3Metrics } from './observe.ts';
import { selectOperation } from './routes.ts';
import { serveWebsite } from './website/serve.ts';

export interface S3AppOptions {
  readonly backend: Backend;
  readonly credentials: CredentialStore;
  readonly accounts: AccountDirectory;
  /** Requests must be signed for it. */
  readonly region: string;
  /** Set: buckets are also found in the Host header below it. */
  readonly domain?: string | undefined;
  /** Set: buckets with a website are served as such below it, by their names in the Host header. */
  readonly websiteDomain?: string | undefined;
  /** Milliseconds since 1970. */
  readonly clock: () => number;
  readonly logger: S3Logger;
  readonly metrics?: S3Metrics | undefined;
  /** What isn't given is as in `defaultLimits`. */
  readonly limits?: Partial<S3Limits>;
  /** Absent: nobody's requests are noted. */
  readonly accessLog?: RequestLog | undefined;
  /** See `Services`; default: false. */
  readonly customerKeysOverHttp?: boolean;
  /** Types of the destinations that events may go to, by name; default: none. */
  readonly notifications?: ReadonlyMap<string, string>;
  /** Makes `x-amz-request-id`; default: random. */
  readonly requestId?: () => string;
}

export type S3App = Hono<S3Env>;

/**
 * The S3 API over HTTP in front of a backend. Serve it with `serveS3`, or call `app.request()` in process.
 *
 * Data flows one way: begin the exchange (id, log), limit, find the resource, authenticate, choose the operation, call
 * the backend, answer. Whatever is thrown on the way ends in `onError`, which answers in S3's words.
 */
export function createS3App(options: S3AppOptions): S3App {
  const services: Services = {
    backend: options.backend,
    credentials: options.credentials,
    accounts: options.accounts,
    policies: accessPolicies(),
    region: options.region,
    domain: options.domain,
    clock: options.clock,
    logger: options.logger,
    metrics: options.metrics,
    accessLog: options.accessLog,
    limits: { ...defaultLimits, ...options.limits },
    customerKeysOverHttp: options.customerKeysOverHttp ?? false,
    notifications: options.notifications ?? new Map<string, string>(),
    checksums: once(() => Checksums.load()),
  };
  const answerer = new Answerer({ services, hostId: randomBytes(24).toString('base64') });
  // Keys may be anything, so Hono's own path matching is kept out of it: every request takes the same way.
  const app = new Hono<S3Env>({ getPath: () => '/' });
  app.use(beginExchange({ services, requestId: options.requestId }));
  app.use(inFlightLimit({ max: services.limits.maxInFlight }));
  app.use(findResource({ domain: options.domain, websiteDomain: options.websiteDomain }));
  app.use(crossOrigin(services));
  app.use(authentication(services));
  app.all('/', async (c) => {
    const exchange = c.get('exchange');
    const call = callOf(exchange, services);
    const asWebsite = exchange.resource?.website === true && call.method !== 'OPTIONS';
    const operation = asWebsite
      ? serveWebsite
      : selectOperation({
          method: call.method,
          level: exchange.resource?.level ?? 'service',
          query: call.query,
          headers: call.headers,
        });
    exchange.operation = operation.name;
    return answerer.answer(c, await operation.handle(call));
  });
  app.onError((error, c) => answerer.answerError(c, error));
  return app;
}

/** What the middlewares have found out, as one thing that is complete. */
function callOf(exchange: Exchange, services: Services): Call {
  const { resource, query, caller, payload } = exchange;
  if (resource === undefined || query === undefined || caller === undefined || payload === undefined) {
    throw new Error('A middleware is missing.');
  }
  return {
    services,
    requestId: exchange.requestId,
    method: exchange.method,
    scheme: exchange.scheme,
    remoteAddress: exchange.remoteAddress,
    headers: exchange.headers,
    query,
    bucket: resource.bucket,
    key: resource.key,
    caller,
    payload,
    body: exchange.body,
    access: exchange.access,
    signal: exchange.signal,
  };
}

function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => (made ??= make());
}
