import { createHash, timingSafeEqual } from 'node:crypto';
import type { Credential, CredentialStore } from './credentials.ts';
import { AuthError } from './errors.ts';

/** Longest header value that is looked at, in characters. */
const maxValueLength = 4096;

function digest(text: string): Buffer {
  return createHash('sha256').update(text, 'utf8').digest();
}

/** Takes `Basic` credentials apart: the user is everything before the first colon (RFC 7617). */
function parseBasic(authorization: string): { user: string; password: string } | undefined {
  if (authorization.length > maxValueLength) return undefined;
  const encoded = /^basic +([A-Za-z0-9+/]+={0,2}) *$/i.exec(authorization)?.[1];
  if (encoded === undefined) return undefined;
  const text = Buffer.from(encoded, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  return colon < 0 ? undefined : { user: text.slice(0, colon), password: text.slice(colon + 1) };
}

/** Whether an `Authorization` header is of the Basic scheme. */
export function isBasic(authorization: string): boolean {
  return /^basic(?: |$)/i.test(authorization);
}

/**
 * Finds out who asks by HTTP Basic: the access key id is the user, the secret access key the password. Only to be
 * used over TLS.
 *
 * Digests of equal length are compared, and an unknown user costs as much as a wrong password, so the time says
 * nothing about either.
 *
 * @throws AuthError `AccessDenied`, the same for every reason.
 */
export async function authenticateBasic(
  authorization: string,
  options: { credentials: CredentialStore },
): Promise<Credential> {
  const given = parseBasic(authorization);
  const credential = given === undefined ? undefined : await options.credentials.find(given.user);
  const expected = digest(credential?.secretAccessKey ?? '');
  const matches = timingSafeEqual(digest(given?.password ?? ''), expected);
  if (credential === undefined || !matches) throw new AuthError('AccessDenied', 'Access Denied');
  return credential;
}
