import { randomBytes } from 'node:crypto';
import { createMiddleware } from 'hono/factory';
import type { Exchange, S3Env, Services } from '../exchange.ts';
import { IncomingClientBody, WebClientBody } from '../http/client_body.ts';
import { RequestHeaders } from '../http/headers.ts';
import { splitTarget } from '../http/target.ts';

interface ExchangeOptions {
  readonly services: Services;
  /** Makes `x-amz-request-id`; default: 16 random characters. */
  readonly requestId?: (() => string) | undefined;
}

/**
 * The outermost middleware: gives the request its id, takes it out of its carrier (node:http, or a fetch request in
 * process) and, when its answer is out, logs and counts it.
 */
export function beginExchange(options: ExchangeOptions): ReturnType<typeof createMiddleware<S3Env>> {
  const { services } = options;
  const requestId = options.requestId ?? randomIds();
  return createMiddleware<S3Env>(async function exchange(c, next) {
    const begun = performance.now();
    const { incoming, outgoing } = c.env;
    const common = {
      requestId: requestId(),
      startedMs: begun,
      status: 0,
      sentBytes: 0,
      access: {},
      broken: false,
      onSettled: [],
      expectsContinue: c.env.expectsContinue === true,
    };
    let exchange: Exchange;
    if (incoming === undefined || outgoing === undefined) {
      const url = c.req.raw.url;
      exchange = {
        ...common,
        method: c.req.raw.method,
        target: splitTarget(c.env.target ?? url),
        remoteAddress: undefined,
        scheme: url.startsWith('https:') ? 'https' : 'http',
        headers: RequestHeaders.fromWeb(c.req.raw.headers),
        body: new WebClientBody(c.req.raw),
        signal: c.req.raw.signal,
      };
    } else {
      const vanished = new AbortController();
      outgoing.once('close', () => {
        if (!outgoing.writableFinished) vanished.abort();
      });
      exchange = {
        ...common,
        method: incoming.method ?? 'GET',
        target: splitTarget(c.env.target ?? incoming.url ?? '/'),
        remoteAddress: incoming.socket.remoteAddress,
        scheme: 'encrypted' in incoming.socket ? 'https' : 'http',
        headers: RequestHeaders.fromRaw(incoming.rawHeaders),
        body: new IncomingClientBody(
          { incoming, outgoing },
          { expectsContinue: common.expectsContinue, pace: services.limits.pace },
        ),
        signal: vanished.signal,
      };
    }
    c.set('exchange', exchange);
    services.metrics?.requestStarted();
    exchange.onSettled.push(() => report(exchange, services));
    await next();
  });
}

/** 16 characters of hexadecimal, from random bytes fetched many at a time. */
function randomIds(): () => string {
  let pool = '';
  let at = 0;
  return () => {
    if (at >= pool.length) {
      pool = randomBytes(4096).toString('hex').toUpperCase();
      at = 0;
    }
    at += 16;
    return pool.slice(at - 16, at);
  };
}

/** One line a request. The query is left out: it holds presigned signatures. */
function report(exchange: Exchange, services: Services): void {
  const durationMs = performance.now() - exchange.startedMs;
  services.metrics?.requestFinished({
    operation: exchange.operation ?? 'none',
    method: exchange.method,
    status: exchange.status,
    durationMs,
    receivedBytes: exchange.body.receivedBytes,
    sentBytes: exchange.sentBytes,
  });
  services.accessLog?.note(exchange, durationMs);
  services.logger.info(
    {
      requestId: exchange.requestId,
      operation: exchange.operation,
      method: exchange.method,
      bucket: exchange.resource?.bucket,
      key: exchange.resource?.key,
      status: exchange.status,
      bytesIn: exchange.body.receivedBytes,
      bytesOut: exchange.sentBytes,
      ms: Math.round(durationMs * 100) / 100,
      accessKeyId: exchange.caller?.kind === 'signed' ? exchange.caller.credential.accessKeyId : undefined,
      ...(exchange.broken ? { broken: true } : {}),
    },
    'request',
  );
}
