import { createHash } from 'node:crypto';
import aws4 from 'aws4';
import type { Credential } from '../../auth/credentials.ts';
import { staticAccounts } from '../../auth/static_credentials.ts';
import { createS3App, type S3App, type S3AppOptions } from '../app.ts';
import { MemoryBackend } from './memory_backend.ts';

export const region = 'ap-southeast-2';

export const alice: Credential = {
  accessKeyId: 'AKIAALICE',
  secretAccessKey: 'alice-secret',
  accountId: '111111111111',
  displayName: 'alice',
  admin: true,
  policy: [{ bucket: '*', actions: ['s3:*'] }],
};

export const bob: Credential = {
  ...alice,
  accessKeyId: 'AKIABOB',
  accountId: '222222222222',
  displayName: 'bob',
};

/** Of alice's account, but may only write to buckets whose name begins with `in-`. */
export const dropbox: Credential = {
  ...alice,
  accessKeyId: 'AKIADROP',
  policy: [{ bucket: 'in-*', actions: ['s3:PutObject', 's3:GetObject'] }],
};

export const aliceOwner = { id: alice.accountId, displayName: alice.displayName };

interface LogLine {
  readonly level: 'info' | 'warn' | 'error';
  readonly fields: Readonly<Record<string, unknown>>;
  readonly message: string;
}

export interface Harness {
  readonly app: S3App;
  readonly backend: MemoryBackend;
  readonly log: LogLine[];
  /** Signs with aws4 and calls the app in process. */
  readonly send: (request: TestRequest) => Promise<Response>;
}

export interface TestRequest {
  readonly method?: string;
  /** The raw request target, passed to the app as it is. */
  readonly target: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  /** Null: anonymous. Default: alice. */
  readonly as?: Credential | null;
  readonly host?: string;
  /** To sign for; default: `region`. */
  readonly region?: string;
}

export function signedHeaders(request: TestRequest): Record<string, string> {
  const { method = 'GET', target, headers = {}, body = '', as = alice, host = 's3.test' } = request;
  const sized = body.length > 0 || method === 'PUT' || method === 'POST';
  const all: Record<string, string> = { host, ...headers };
  if (sized && !('content-length' in all) && !('transfer-encoding' in all)) {
    all['content-length'] = String(Buffer.byteLength(body));
  }
  if (as === null) return all;
  // Without a body for aws4: it would add a Content-Type of its own.
  all['x-amz-content-sha256'] ??= createHash('sha256').update(body).digest('hex');
  const [path = '', query] = target.split(/\?(.*)/s);
  const canonical = path
    .split('/')
    .map((segment) => percentEncode(decodeURIComponent(segment)))
    .join('/');
  const signed = aws4.sign(
    {
      method,
      host,
      path: query === undefined ? canonical : `${canonical}?${query}`,
      headers: all,
      service: 's3',
      region: request.region ?? region,
      doNotEncodePath: true,
    },
    { accessKeyId: as.accessKeyId, secretAccessKey: as.secretAccessKey },
  );
  return Object.fromEntries(
    Object.entries(signed.headers ?? {}).map(([name, value]) => [
      name.toLowerCase(),
      // One character a byte, as on the wire.
      Buffer.from(String(value), 'utf8').toString('latin1'),
    ]),
  );
}

function percentEncode(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

/** @param options.memory where the store is, for those who need it before there is an app over it. */
export function createHarness(
  options: Partial<S3AppOptions> & { readonly memory?: MemoryBackend } = {},
): Harness {
  const { memory: backend = new MemoryBackend(), ...rest } = options;
  const log: LogLine[] = [];
  const note =
    (level: LogLine['level']) =>
    (fields: object, message: string): void => {
      log.push({ level, fields: fields as Record<string, unknown>, message });
    };
  const known = [alice, bob, dropbox];
  const app = createS3App({
    backend,
    credentials: { find: (id) => Promise.resolve(known.find((credential) => credential.accessKeyId === id)) },
    accounts: staticAccounts(known),
    region,
    clock: () => Date.now(),
    logger: { info: note('info'), warn: note('warn'), error: note('error') },
    ...rest,
  });
  return {
    app,
    backend,
    log,
    async send(request) {
      const { method = 'GET', target, body } = request;
      const init = {
        method,
        headers: signedHeaders(request),
        ...(body === undefined || body.length === 0 ? {} : { body: Buffer.from(body) }),
      };
      // The URL stands in for nothing but the scheme: the app works on the raw target.
      return app.request('https://s3.test/', init, { target });
    },
  };
}

/** The text of the first element of that name. */
export function textOf(xml: string, name: string): string | undefined {
  return new RegExp(`<${name}>([^<]*)</${name}>`).exec(xml)?.[1];
}

/** The texts of all elements of that name. */
export function textsOf(xml: string, name: string): string[] {
  return [...xml.matchAll(new RegExp(`<${name}>([^<]*)</${name}>`, 'g'))].map((match) => match[1] ?? '');
}
