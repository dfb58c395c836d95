import { createMiddleware } from 'hono/factory';
import { authenticate } from '../../auth/authenticate.ts';
import type { CredentialStore } from '../../auth/credentials.ts';
import { S3Error } from '../errors.ts';
import type { Exchange, S3Env } from '../exchange.ts';
import type { Query } from '../http/query.ts';

interface AuthenticationOptions {
  readonly credentials: CredentialStore;
  readonly region: string;
  readonly clock: () => number;
}

/** Finds out who asks. What they may do is decided when the bucket is known. */
export function authentication(options: AuthenticationOptions): ReturnType<typeof createMiddleware<S3Env>> {
  return createMiddleware<S3Env>(async function authenticateRequest(c, next) {
    const exchange = c.get('exchange');
    if (exchange.method === 'OPTIONS' || exchange.resource?.website === true) {
      // A browser asks without credentials, be it about a URL that is presigned for another method.
      // On a website nobody signs in.
      exchange.caller = { kind: 'anonymous' };
      exchange.payload = { kind: 'unsigned' };
      return next();
    }
    const authenticated = await authenticate(
      {
        method: exchange.method,
        rawPath: exchange.target.rawPath,
        rawQuery: exchange.target.rawQuery,
        headers: exchange.headers.map,
      },
      {
        credentials: options.credentials,
        nowMs: options.clock(),
        region: options.region,
        anyRegion: asksForRegion(exchange),
        service: 's3',
      },
    );
    exchange.payload = authenticated.payload;
    if (authenticated.kind === 'anonymous') {
      exchange.caller = { kind: 'anonymous' };
    } else {
      const { credential, presigned, signedAtMs } = authenticated;
      const owner = { id: credential.accountId, displayName: credential.displayName };
      const authType = presigned ? 'REST-QUERY-STRING' : 'REST-HEADER';
      exchange.caller = { kind: 'signed', credential, owner, presigned, authType, signedAtMs };
      if (presigned && exchange.query !== undefined) {
        exchange.headers = exchange.headers.withDefaults(hoistedHeaders(exchange.query));
      }
    }
    await next();
  });
}

/** GetBucketLocation: S3 answers it whatever region it is signed for, and clients ask it before they know the region. */
function asksForRegion(exchange: Exchange): boolean {
  const { method, resource, query } = exchange;
  return method === 'GET' && resource?.level === 'bucket' && query?.has('location') === true;
}

/** Parameters of a presigned URL that are its signature, or that S3 doesn't take from a query. */
const notHoisted =
  /^x-amz-(?:algorithm|credential|date|expires|signedheaders|signature|security-token|content-sha256|checksum-.*|sdk-checksum-algorithm|user-agent)$/;

const headerName = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/;

/** `x-amz-*` headers that were signed into the query of a presigned URL. They count like headers. */
function hoistedHeaders(query: Query): Map<string, readonly string[]> {
  const hoisted = new Map<string, readonly string[]>();
  for (const [name, value] of query.entries()) {
    const header = name.toLowerCase();
    if (!header.startsWith('x-amz-') || notHoisted.test(header)) continue;
    if (!headerName.test(header)) {
      throw new S3Error('InvalidArgument', 'This is not the name of a header.', { ArgumentName: name });
    }
    hoisted.set(header, [value]);
  }
  return hoisted;
}
