import { createMiddleware } from 'hono/factory';
import { S3Error } from '../errors.ts';
import type { S3Env } from '../exchange.ts';

interface InFlightLimitOptions {
  /** Requests being worked on at the same time. */
  readonly max: number;
}

/** Answers 503 SlowDown instead of taking on more work than there is room for. */
export function inFlightLimit(options: InFlightLimitOptions): ReturnType<typeof createMiddleware<S3Env>> {
  let inFlight = 0;
  return createMiddleware<S3Env>(async function limitInFlight(c, next) {
    if (inFlight >= options.max) throw new S3Error('SlowDown');
    inFlight += 1;
    c.get('exchange').onSettled.push(() => {
      inFlight -= 1;
    });
    await next();
  });
}
