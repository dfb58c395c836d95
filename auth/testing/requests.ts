import type { AuthenticateOptions } from '../authenticate.ts';
import type { Credential, CredentialStore } from '../credentials.ts';
import type { SignedRequest } from '../request.ts';

/** The pair all examples of the S3 API reference use. */
export const exampleCredential: Credential = {
  accessKeyId: 'AKIAIOSFODNN7EXAMPLE',
  secretAccessKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY',
  accountId: '123456789012',
  displayName: 'main',
  admin: false,
  policy: [],
};

export const exampleStore: CredentialStore = {
  find: async (accessKeyId) =>
    accessKeyId === exampleCredential.accessKeyId ? exampleCredential : undefined,
};

/** The moment all examples of the S3 API reference are signed at. */
export const exampleTimeMs = Date.UTC(2013, 4, 24);

export const exampleOptions: AuthenticateOptions = {
  credentials: exampleStore,
  nowMs: exampleTimeMs,
  region: 'us-east-1',
  service: 's3',
};

/** A text as Node hands it over: a character for each of its UTF-8 bytes. */
export function onTheWire(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1');
}

/** A request from a target such as `/bucket/key?acl`. Values may be lists for repeated headers. */
export function requestOf(
  method: string,
  target: string,
  headers: Readonly<Record<string, string | number | readonly string[]>>,
): SignedRequest {
  const queryAt = target.indexOf('?');
  const map = new Map<string, readonly string[]>();
  for (const [name, value] of Object.entries(headers)) {
    map.set(name.toLowerCase(), typeof value === 'object' ? value : [String(value)]);
  }
  return {
    method,
    rawPath: queryAt < 0 ? target : target.slice(0, queryAt),
    rawQuery: queryAt < 0 ? '' : target.slice(queryAt + 1),
    headers: map,
  };
}

/** Encodes as S3 wants it: every byte but the unreserved ones. */
export function encodeStrictly(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}
