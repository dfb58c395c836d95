import {
  algorithmRefused,
  type PresignedClaim,
  type SignatureClaim,
  parseAuthorizationHeader,
  parsePresignedQuery,
  querySignatureVersion,
  wrongScope,
} from './authorization.ts';
import { canonicalHeader, canonicalPath, canonicalQuery, queryParameters, wireBytes } from './canonical.ts';
import type { Credential, CredentialStore } from './credentials.ts';
import { AuthError } from './errors.ts';
import { payloadCheck } from './payload_check.ts';
import type { Authenticated, SignedRequest } from './request.ts';
import {
  algorithm,
  emptySha256,
  equalInConstantTime,
  scopeText,
  sha256Hex,
  signHex,
  signingKeyFor,
} from './signature.ts';
import { formatBasicIso, formatIso, parseBasicIso, parseHttpDate } from './timestamp.ts';

/** How far a client's clock may be off, either way. */
const maxSkewMs = 15 * 60 * 1000;

/** What `authenticate` needs to know besides the request. */
export interface AuthenticateOptions {
  readonly credentials: CredentialStore;
  /** The present, in milliseconds since the epoch. */
  readonly nowMs: number;
  /** The region requests must be signed for. */
  readonly region: string;
  /** This request may be signed for any region: it is how a client finds out the right one. */
  readonly anyRegion?: boolean;
  /** The service requests must be signed for: `s3`, or `s3db`. */
  readonly service: string;
  /**
   * SHA-256 of the whole body in hex, for callers that have read it already: stands in for an absent
   * `x-amz-content-sha256`, which only S3 demands.
   */
  readonly bodySha256?: string;
}

/**
 * Finds out who asks, by AWS Signature Version 4 in the `Authorization` header or in the query of a presigned URL.
 * A request without any of either is anonymous. What may be done is not decided here.
 *
 * The signature covers the method, path, query, every `x-amz-*` header present, `host`, and the payload's hash or
 * the seed of its chunks: a body must still go through `decodePayload` with the check returned.
 *
 * @throws AuthError whenever a request claims to be signed and isn't validly; never treats it as anonymous.
 */
export async function authenticate(
  request: SignedRequest,
  options: AuthenticateOptions,
): Promise<Authenticated> {
  const authorization = request.headers.get('authorization');
  const parameters = queryParameters(request.rawQuery);
  const queryVersion = querySignatureVersion(parameters);
  if (authorization !== undefined && (queryVersion !== undefined || authorization.length !== 1)) {
    throw new AuthError(
      'InvalidArgument',
      'Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string ' +
        'parameter or the Authorization header should be specified',
      { ArgumentName: 'Authorization' },
    );
  }
  if (authorization !== undefined) {
    return await authenticateHeader(request, parseAuthorizationHeader(authorization[0] ?? ''), options);
  }
  if (queryVersion === 2) throw algorithmRefused('query');
  if (queryVersion === 4)
    return await authenticatePresigned(request, parsePresignedQuery(parameters), options);
  const contentSha256 = single(request.headers, 'x-amz-content-sha256');
  return { kind: 'anonymous', payload: payloadCheck(request.headers, { contentSha256 }) };
}

async function authenticateHeader(
  request: SignedRequest,
  claim: SignatureClaim,
  options: AuthenticateOptions,
): Promise<Authenticated> {
  const timeMs = requestTime(request.headers);
  const timestamp = formatBasicIso(timeMs);
  checkScope(claim, timestamp, options);
  checkSignedHeaders(request, claim);
  const contentSha256 = headerContentSha256(request, options);
  const credential = await findCredential(claim, options);
  if (Math.abs(options.nowMs - timeMs) > maxSkewMs) {
    throw new AuthError(
      'RequestTimeTooSkewed',
      'The difference between the request time and the current time is too large.',
      {
        RequestTime: timestamp,
        ServerTime: formatIso(options.nowMs),
        MaxAllowedSkewMilliseconds: String(maxSkewMs),
      },
    );
  }
  const signingKey = checkSignature(request, claim, { credential, timestamp, contentSha256 });
  const signing = { signingKey, timestamp, scope: scopeText(claim.scope), seedSignature: claim.signature };
  return {
    kind: 'signed',
    credential,
    presigned: false,
    signedAtMs: timeMs,
    payload: payloadCheck(request.headers, { contentSha256, signing }),
  };
}

async function authenticatePresigned(
  request: SignedRequest,
  claim: PresignedClaim,
  options: AuthenticateOptions,
): Promise<Authenticated> {
  const timeMs = parseBasicIso(claim.date);
  if (timeMs === undefined) {
    throw wrongScope('query', "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"");
  }
  checkScope(claim, claim.date, options);
  checkSignedHeaders(request, claim);
  const header = single(request.headers, 'x-amz-content-sha256');
  if (header !== undefined && claim.contentSha256 !== undefined && header !== claim.contentSha256) {
    throw new AuthError('InvalidRequest', 'x-amz-content-sha256 differs between the query and the header.');
  }
  const declared = claim.contentSha256 ?? header;
  const credential = await findCredential(claim, options);
  checkValidity(claim, { timeMs, nowMs: options.nowMs });
  checkSignature(request, claim, {
    credential,
    timestamp: claim.date,
    contentSha256: declared ?? 'UNSIGNED-PAYLOAD',
  });
  return {
    kind: 'signed',
    credential,
    presigned: true,
    signedAtMs: timeMs,
    payload: payloadCheck(request.headers, { contentSha256: declared }),
  };
}

/** The one value of a header that must not be repeated. */
function single(headers: SignedRequest['headers'], name: string): string | undefined {
  const values = headers.get(name);
  if (values === undefined || values.length === 0) return undefined;
  if (values.length > 1) throw new AuthError('InvalidRequest', `The header ${name} is given more than once.`);
  return values[0]?.trim();
}

/** When the request was signed: `x-amz-date`, else `date`, which may be an HTTP date. */
function requestTime(headers: SignedRequest['headers']): number {
  const amzDate = single(headers, 'x-amz-date');
  const text = amzDate ?? single(headers, 'date') ?? '';
  const timeMs = parseBasicIso(text) ?? (amzDate === undefined ? parseHttpDate(text) : undefined);
  if (timeMs === undefined) {
    throw new AuthError('AccessDenied', 'AWS authentication requires a valid Date or x-amz-date header');
  }
  return timeMs;
}

function checkScope(claim: SignatureClaim, timestamp: string, options: AuthenticateOptions): void {
  const { date, region, service } = claim.scope;
  if (service !== options.service) {
    throw wrongScope(
      claim.form,
      `the service in the credential scope is wrong; expecting "${options.service}".`,
    );
  }
  if (region !== options.region && options.anyRegion !== true) {
    throw wrongScope(claim.form, `the region is wrong; expecting '${options.region}'`, options.region);
  }
  if (date !== timestamp.slice(0, 8)) {
    throw wrongScope(claim.form, 'the date in the credential scope differs from the date of the request.');
  }
}

/** Every `x-amz-*` header changes what a request means, so each one present must be signed. */
function checkSignedHeaders(request: SignedRequest, claim: SignatureClaim): void {
  const signed = new Set(claim.signedHeaders);
  const unsigned: string[] = [];
  for (const name of request.headers.keys()) {
    if (name.startsWith('x-amz-') && !signed.has(name)) unsigned.push(name);
  }
  if (unsigned.length > 0) {
    throw new AuthError('AccessDenied', 'There were headers present in the request which were not signed', {
      HeadersNotSigned: unsigned.slice(0, 20).join(', '),
    });
  }
  single(request.headers, 'host');
}

function headerContentSha256(request: SignedRequest, options: AuthenticateOptions): string {
  const value = single(request.headers, 'x-amz-content-sha256');
  if (value !== undefined) return value;
  if (options.service === 's3') {
    throw new AuthError('InvalidRequest', 'Missing required header for this request: x-amz-content-sha256');
  }
  return options.bodySha256 ?? emptySha256;
}

async function findCredential(claim: SignatureClaim, options: AuthenticateOptions): Promise<Credential> {
  const credential = await options.credentials.find(claim.accessKeyId);
  if (credential !== undefined) return credential;
  throw new AuthError(
    'InvalidAccessKeyId',
    'The AWS Access Key Id you provided does not exist in our records.',
    accessKeyDetail(claim.accessKeyId),
  );
}

/** Only printable ASCII is repeated to the client. */
function accessKeyDetail(accessKeyId: string): Record<string, string> {
  return /^[\x21-\x7e]+$/.test(accessKeyId) ? { AWSAccessKeyId: accessKeyId } : {};
}

function checkValidity(claim: PresignedClaim, time: { timeMs: number; nowMs: number }): void {
  if (time.timeMs - time.nowMs > maxSkewMs) {
    throw new AuthError('AccessDenied', 'Request is not valid yet', {
      'X-Amz-Date': claim.date,
      ServerTime: formatIso(time.nowMs),
    });
  }
  const expiresMs = time.timeMs + claim.expiresS * 1000;
  if (time.nowMs > expiresMs) {
    throw new AuthError('AccessDenied', 'Request has expired', {
      'X-Amz-Expires': String(claim.expiresS),
      Expires: formatIso(expiresMs),
      ServerTime: formatIso(time.nowMs),
    });
  }
}

/** Checks the signature and returns the key it was made with. */
function checkSignature(
  request: SignedRequest,
  claim: SignatureClaim,
  signed: { credential: Credential; timestamp: string; contentSha256: string },
): Buffer {
  const lines = [
    request.method,
    canonicalPath(request.rawPath, claim.scope.service),
    canonicalQuery(request.rawQuery, { omitSignature: claim.form === 'query' }),
  ];
  for (const name of claim.signedHeaders) {
    const values = request.headers.get(name);
    if (values === undefined) {
      throw new AuthError('SignatureDoesNotMatch', `The signed header ${name} is missing from the request.`);
    }
    lines.push(canonicalHeader(name, values));
  }
  lines.push('', claim.signedHeaders.join(';'), signed.contentSha256);
  const stringToSign = [
    algorithm,
    signed.timestamp,
    scopeText(claim.scope),
    sha256Hex(wireBytes(lines.join('\n'))),
  ].join('\n');
  const signingKey = signingKeyFor(signed.credential, claim.scope);
  if (!equalInConstantTime(signHex(signingKey, stringToSign), claim.signature)) {
    throw new AuthError(
      'SignatureDoesNotMatch',
      'The request signature we calculated does not match the signature you provided. Check your key and ' +
        'signing method.',
      { ...accessKeyDetail(claim.accessKeyId), StringToSign: stringToSign },
    );
  }
  return signingKey;
}
