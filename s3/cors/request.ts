import type { RequestHeaders } from '../http/headers.ts';
import type { CrossOriginRequest } from './rules.ts';

/**
 * What a request says of crossing origins; undefined where it has no usable Origin. The method that a browser asks
 * about counts before the request's own, as S3 has it.
 */
export function crossOriginRequest(headers: RequestHeaders, method: string): CrossOriginRequest | undefined {
  const origin = headers.get('origin');
  // What is echoed must be no more than an origin can be.
  if (origin === undefined || !/^[\x21-\x7e]{1,2048}$/.test(origin)) return undefined;
  return {
    origin,
    method: headers.get('access-control-request-method') ?? method,
    headers: requestedHeaders(headers.get('access-control-request-headers')),
  };
}

function requestedHeaders(text: string | undefined): string[] {
  if (text === undefined) return [];
  return text
    .split(',')
    .map((name) => name.trim().toLowerCase())
    .filter((name) => name !== '');
}
