import { AuthError } from './errors.ts';
import type { QueryParameter } from './canonical.ts';
import { algorithm, type SigningScope } from './signature.ts';

/** Where a request is signed: in its `Authorization` header, its query, or in the fields of a form. */
export type ClaimForm = 'header' | 'query' | 'form';

/** What a request says about its own signature, well-formed but not yet believed. */
export interface SignatureClaim {
  readonly form: ClaimForm;
  readonly accessKeyId: string;
  readonly scope: SigningScope;
  /** Sorted, in lower case, without duplicates; `host` is among them. */
  readonly signedHeaders: readonly string[];
  /** As given; not checked to be hexadecimal. */
  readonly signature: string;
}

/** A presigned URL's claim. */
export interface PresignedClaim extends SignatureClaim {
  readonly form: 'query';
  /** As given: `yyyymmddThhmmssZ` if it is valid. */
  readonly date: string;
  /** 1 to 604,800. */
  readonly expiresS: number;
  /** The `X-Amz-Content-Sha256` parameter. */
  readonly contentSha256: string | undefined;
}

const maxExpiresS = 7 * 24 * 60 * 60;

/** Longest access key id that is looked up, in characters. */
const maxAccessKeyIdLength = 256;

const headerName = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/;

function malformed(form: ClaimForm, message: string): AuthError {
  switch (form) {
    case 'header':
      return new AuthError(
        'AuthorizationHeaderMalformed',
        `The authorization header is malformed; ${message}`,
      );
    case 'query':
      return new AuthError('AuthorizationQueryParametersError', message);
    case 'form':
      return new AuthError('InvalidArgument', `The signature of the form is malformed; ${message}`);
  }
}

/** Says that the credential's scope is for somewhere else, with the right region so that clients can follow. */
export function wrongScope(form: ClaimForm, message: string, region?: string): AuthError {
  const { code, message: text } = malformed(form, message);
  return new AuthError(code, text, region === undefined ? {} : { Region: region });
}

/**
 * Refuses the older signature version, or another algorithm, by name. aws-cli 1 and boto3 still presign with the
 * older one in the regions that once had it, unless they are told otherwise, so the hint says how.
 */
export function algorithmRefused(form: ClaimForm): AuthError {
  const hint =
    form === 'query'
      ? ' For presigned URLs of aws-cli: aws configure set default.s3.signature_version s3v4'
      : '';
  return new AuthError(
    'InvalidRequest',
    `The authorization mechanism you have provided is not supported. Please use ${algorithm}.${hint}`,
  );
}

function parseCredential(form: ClaimForm, text: string): Pick<SignatureClaim, 'accessKeyId' | 'scope'> {
  const parts = text.split('/');
  const [date = '', region = '', service = '', terminator = ''] = parts.slice(-4);
  const accessKeyId = parts.slice(0, -4).join('/');
  if (parts.length < 5 || accessKeyId === '' || accessKeyId.length > maxAccessKeyIdLength) {
    throw malformed(
      form,
      'the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".',
    );
  }
  if (!/^\d{8}$/.test(date)) {
    throw malformed(form, 'the date in the credential scope is wrong; expecting the form "YYYYMMDD".');
  }
  if (terminator !== 'aws4_request') {
    throw malformed(form, 'the credential scope must end with "aws4_request".');
  }
  return { accessKeyId, scope: { date, region, service } };
}

/** Reads `x-amz-credential` of a form. @throws AuthError InvalidArgument */
export function parseFormCredential(text: string): Pick<SignatureClaim, 'accessKeyId' | 'scope'> {
  return parseCredential('form', text);
}

function parseSignedHeaders(form: ClaimForm, text: string): string[] {
  const names = text.split(';').sort();
  for (const [at, name] of names.entries()) {
    if (!headerName.test(name)) {
      throw malformed(form, 'SignedHeaders must be lower-case header names separated by semicolons.');
    }
    if (name === names[at - 1]) throw malformed(form, 'SignedHeaders names a header twice.');
  }
  if (!names.includes('host')) throw malformed(form, 'the host header must be signed.');
  return names;
}

/**
 * Reads an `Authorization` header.
 *
 * @throws AuthError `AccessDenied` if it is empty, `InvalidRequest` for other signature algorithms,
 * `InvalidArgument` for other schemes, `AuthorizationHeaderMalformed` for the rest.
 */
export function parseAuthorizationHeader(value: string): SignatureClaim & { readonly form: 'header' } {
  const text = value.trim();
  if (text === '') throw new AuthError('AccessDenied', 'Access Denied');
  const schemeEnd = text.search(/\s/);
  const scheme = schemeEnd < 0 ? text : text.slice(0, schemeEnd);
  const rest = schemeEnd < 0 ? '' : text.slice(schemeEnd).trim();
  if (scheme !== algorithm) {
    const isVersion2 = scheme === 'AWS' && rest.includes(':');
    if (isVersion2 || scheme.startsWith('AWS4-')) throw algorithmRefused('header');
    throw new AuthError('InvalidArgument', 'Unsupported Authorization Type', {
      ArgumentName: 'Authorization',
    });
  }
  const fields = new Map<string, string>();
  for (const part of rest.split(',')) {
    const field = part.trim();
    const at = field.indexOf('=');
    const name = at < 0 ? field : field.slice(0, at).trimEnd();
    if (at < 0 || !['Credential', 'SignedHeaders', 'Signature'].includes(name) || fields.has(name)) {
      throw malformed('header', 'expecting Credential, SignedHeaders and Signature, each once.');
    }
    fields.set(name, field.slice(at + 1).trimStart());
  }
  const credential = fields.get('Credential');
  const signedHeaders = fields.get('SignedHeaders');
  const signature = fields.get('Signature');
  if (credential === undefined || signedHeaders === undefined || signature === undefined) {
    throw malformed('header', 'expecting Credential, SignedHeaders and Signature, each once.');
  }
  return {
    form: 'header',
    ...parseCredential('header', credential),
    signedHeaders: parseSignedHeaders('header', signedHeaders),
    signature,
  };
}

/** In lower case. */
const queryFields = [
  'x-amz-algorithm',
  'x-amz-credential',
  'x-amz-date',
  'x-amz-expires',
  'x-amz-signedheaders',
  'x-amz-signature',
] as const;

const requiredQueryFields =
  'Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, ' +
  'X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.';

/** Whether the query claims to sign the request, and with which version. */
export function querySignatureVersion(parameters: readonly QueryParameter[]): 2 | 4 | undefined {
  let version: 2 | undefined;
  for (const { name } of parameters) {
    const lower = name.toLowerCase();
    if (lower === 'x-amz-algorithm' || lower === 'x-amz-credential' || lower === 'x-amz-signature') return 4;
    if (name === 'AWSAccessKeyId' || name === 'Signature') version = 2;
  }
  return version;
}

function parseExpires(text: string): number {
  if (!/^-?\d{1,15}$/.test(text)) throw malformed('query', 'X-Amz-Expires should be a number');
  const expiresS = Number(text);
  if (expiresS < 1) throw malformed('query', 'X-Amz-Expires must be at least 1 second');
  if (expiresS > maxExpiresS) {
    throw malformed('query', `X-Amz-Expires must be at most a week, that is ${maxExpiresS} seconds`);
  }
  return expiresS;
}

/**
 * Reads a presigned URL's parameters.
 *
 * @throws AuthError `InvalidRequest` for other algorithms, `AuthorizationQueryParametersError` for the rest.
 */
export function parsePresignedQuery(parameters: readonly QueryParameter[]): PresignedClaim {
  const fields = new Map<string, string>();
  for (const { name, value } of parameters) {
    const lower = name.toLowerCase();
    if (lower !== 'x-amz-content-sha256' && !(queryFields as readonly string[]).includes(lower)) continue;
    if (fields.has(lower)) throw malformed('query', `The parameter ${name} is given more than once.`);
    fields.set(lower, value);
  }
  const [given, credential, date, expires, signedHeaders, signature] = queryFields.map((name) =>
    fields.get(name),
  );
  if (given !== undefined && given !== algorithm) throw algorithmRefused('query');
  if (
    given === undefined ||
    credential === undefined ||
    date === undefined ||
    expires === undefined ||
    signedHeaders === undefined ||
    signature === undefined
  ) {
    throw malformed('query', requiredQueryFields);
  }
  return {
    form: 'query',
    ...parseCredential('query', credential),
    signedHeaders: parseSignedHeaders('query', signedHeaders),
    signature,
    date,
    expiresS: parseExpires(expires),
    contentSha256: fields.get('x-amz-content-sha256'),
  };
}
