import type { IncomingMessage } from 'node:http';
import type { Authenticated, SignedRequest } from '../../auth/request.ts';
import { ApiError } from './api_error.ts';
import { readBody, sameHex, sha256Hex } from './request_body.ts';

/** `authenticate` of auth/, bound to the credentials, the region and the service. @throws AuthError */
export type Authenticator = (request: SignedRequest, bodySha256?: string) => Promise<Authenticated>;

/**
 * Lets in only requests that are signed by SigV4 with their body covered, and gives the body. A body is read before
 * its signature is checked only when its hash stands in no header.
 * @throws AuthError, ApiError
 */
export async function authenticatedBody(
  incoming: IncomingMessage,
  options: { readonly authenticator: Authenticator; readonly maxBytes: number; readonly timeoutMs: number },
): Promise<Buffer> {
  const request = signedRequest(incoming);
  if (!request.headers.has('authorization')) {
    throw new ApiError(
      'Unauthorized',
      'the request is not signed: SigV4 in the Authorization header is needed',
    );
  }
  const hashFirst = request.headers.has('x-amz-content-sha256');
  const body = hashFirst ? undefined : await readBody(incoming, options);
  const identity = await options.authenticator(request, body === undefined ? undefined : sha256Hex(body));
  if (identity.kind !== 'signed') throw new ApiError('Unauthorized', 'the request is not signed');
  if (body !== undefined) return body;
  if (identity.payload.kind !== 'sha256') {
    throw new ApiError('Unauthorized', 'x-amz-content-sha256 must be the SHA-256 of the body');
  }
  const read = await readBody(incoming, options);
  if (!sameHex(sha256Hex(read), identity.payload.hex)) {
    throw new ApiError('Unauthorized', 'the body is not the one that was signed');
  }
  return read;
}

function signedRequest(incoming: IncomingMessage): SignedRequest {
  const target = incoming.url ?? '/';
  const question = target.indexOf('?');
  const headers = new Map<string, string[]>();
  const { rawHeaders } = incoming;
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = (rawHeaders[i] ?? '').toLowerCase();
    const value = rawHeaders[i + 1] ?? '';
    const values = headers.get(name);
    if (values === undefined) headers.set(name, [value]);
    else values.push(value);
  }
  return {
    method: incoming.method ?? 'GET',
    rawPath: question < 0 ? target : target.slice(0, question),
    rawQuery: question < 0 ? '' : target.slice(question + 1),
    headers,
  };
}
