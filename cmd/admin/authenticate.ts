import type { IncomingMessage } from 'node:http';
import { authenticate } from '../../auth/authenticate.ts';
import { authenticateBasic, isBasic } from '../../auth/basic.ts';
import type { Credential, CredentialStore } from '../../auth/credentials.ts';
import { AuthError } from '../../auth/errors.ts';
import type { PayloadCheck, SignedRequest } from '../../auth/request.ts';
import type { Administrator } from './options.ts';

/** SigV4 (as for S3) or Basic credentials of an `[[auth]]` with `admin = true`. */
export function administrators(options: {
  readonly credentials: CredentialStore;
  readonly region: string;
  readonly clock: () => number;
}): (request: IncomingMessage) => Promise<Administrator> {
  return async (request) => {
    try {
      const found = await findCredential(request, options);
      if (found === undefined) return { refusal: 'credentials are needed here: SigV4 or Basic' };
      const { credential, payload } = found;
      if (!credential.admin) return { refusal: 'the key belongs to no administrator' };
      return { owner: { id: credential.accountId, displayName: credential.displayName }, payload };
    } catch (error) {
      if (error instanceof AuthError) return { refusal: error.message };
      throw error;
    }
  };
}

async function findCredential(
  request: IncomingMessage,
  options: { readonly credentials: CredentialStore; readonly region: string; readonly clock: () => number },
): Promise<{ readonly credential: Credential; readonly payload: PayloadCheck } | undefined> {
  const { authorization } = request.headers;
  if (authorization !== undefined && isBasic(authorization)) {
    return { credential: await authenticateBasic(authorization, options), payload: { kind: 'unsigned' } };
  }
  const authenticated = await authenticate(signedRequest(request), {
    credentials: options.credentials,
    nowMs: options.clock(),
    region: options.region,
    service: 's3',
  });
  return authenticated.kind === 'signed' ? authenticated : undefined;
}

/** A request as its signature covers it. */
export function signedRequest(request: IncomingMessage): SignedRequest {
  const target = request.url ?? '/';
  const question = target.indexOf('?');
  const headers = new Map<string, string[]>();
  for (let i = 0; i + 1 < request.rawHeaders.length; i += 2) {
    const name = (request.rawHeaders[i] ?? '').toLowerCase();
    headers.set(name, [...(headers.get(name) ?? []), request.rawHeaders[i + 1] ?? '']);
  }
  return {
    method: request.method ?? 'GET',
    rawPath: question === -1 ? target : target.slice(0, question),
    rawQuery: question === -1 ? '' : target.slice(question + 1),
    headers,
  };
}
