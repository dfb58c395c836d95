import { createMiddleware } from 'hono/factory';
import type { Backend } from '../../backend/backend.ts';
import { BackendError } from '../../backend/errors.ts';
import { crossOriginRequest } from '../cors/request.ts';
import { corsHeaders, corsRulesOf } from '../cors/rules.ts';
import type { S3Env } from '../exchange.ts';

interface CorsOptions {
  readonly backend: Pick<Backend, 'headBucket'>;
}

/**
 * Finds the headers with which a browser shows the answer to a page of another origin. They go with every answer,
 * refusals too: a page that can't see why it was refused can't help its user.
 */
export function crossOrigin(options: CorsOptions): ReturnType<typeof createMiddleware<S3Env>> {
  return createMiddleware<S3Env>(async function cors(c, next) {
    const exchange = c.get('exchange');
    const { resource, headers, method } = exchange;
    const asked = crossOriginRequest(headers, method);
    if (
      asked !== undefined &&
      resource !== undefined &&
      resource.level !== 'service' &&
      method !== 'OPTIONS'
    ) {
      const setting = await corsSetting(options.backend, {
        bucket: resource.bucket,
        signal: exchange.signal,
      });
      if (setting !== undefined) exchange.answerHeaders = corsHeaders(corsRulesOf(setting), asked) ?? {};
    }
    await next();
  });
}

/** What may cross origins is no secret: S3 tells it to whoever asks. Of a bucket that can't be had, nothing. */
async function corsSetting(
  backend: Pick<Backend, 'headBucket'>,
  request: { readonly bucket: string; readonly signal: AbortSignal },
): Promise<string | undefined> {
  try {
    const bucket = await backend.headBucket({ ...request, authorize: () => undefined });
    return bucket.settings.get('cors');
  } catch (error) {
    // The operation itself meets the same refusal, and answers it.
    if (error instanceof BackendError) return undefined;
    throw error;
  }
}
