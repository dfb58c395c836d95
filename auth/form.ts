import { algorithmRefused, parseFormCredential, wrongScope } from './authorization.ts';
import type { Credential, CredentialStore } from './credentials.ts';
import { AuthError } from './errors.ts';
import { algorithm, equalInConstantTime, signHex, signingKeyFor } from './signature.ts';
import { parseBasicIso } from './timestamp.ts';

/** The fields of a form by their names in lower case. */
export type FormFields = ReadonlyMap<string, string>;

/** Who signed a form, and the policy they signed: nothing else of the form is covered by the signature. */
export interface SignedForm {
  readonly credential: Credential;
  /** The policy document, decoded. */
  readonly policy: string;
  readonly signedAtMs: number;
}

const signatureFields = ['x-amz-algorithm', 'x-amz-credential', 'x-amz-date', 'x-amz-signature'] as const;
const olderFields = ['awsaccesskeyid', 'signature'] as const;
const maxPolicyLength = 32 * 1024;

/**
 * Finds out who signed the policy of a POST form, by Signature Version 4. A form without policy and signature is
 * anonymous: undefined.
 * https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-authentication-HTTPPOST.html
 * @throws AuthError for a form that claims to be signed and isn't validly; the older signature version is refused.
 */
export async function authenticateForm(
  fields: FormFields,
  options: { readonly credentials: CredentialStore; readonly region: string },
): Promise<SignedForm | undefined> {
  const claims = [...signatureFields, ...olderFields, 'policy'].some((name) => fields.has(name));
  if (!claims) return undefined;
  if (olderFields.some((name) => fields.has(name))) throw algorithmRefused('form');
  const given = required(fields, 'x-amz-algorithm');
  if (given !== algorithm) throw algorithmRefused('form');
  const encoded = required(fields, 'policy');
  const date = required(fields, 'x-amz-date');
  const signature = required(fields, 'x-amz-signature');
  const { accessKeyId, scope } = parseFormCredential(required(fields, 'x-amz-credential'));
  const signedAtMs = parseBasicIso(date);
  if (signedAtMs === undefined || date.slice(0, 8) !== scope.date) {
    throw wrongScope('form', 'the date of the form is not that of its credential.');
  }
  if (scope.service !== 's3') throw wrongScope('form', 'the service in the credential scope must be "s3".');
  if (scope.region !== options.region) {
    throw wrongScope('form', `the region is wrong; expecting '${options.region}'`, options.region);
  }
  const credential = await options.credentials.find(accessKeyId);
  if (credential === undefined) {
    throw new AuthError(
      'InvalidAccessKeyId',
      'The AWS Access Key Id you provided does not exist in our records.',
    );
  }
  if (!equalInConstantTime(signHex(signingKeyFor(credential, scope), encoded), signature)) {
    throw new AuthError(
      'SignatureDoesNotMatch',
      'The request signature we calculated does not match the signature you provided. Check your key and ' +
        'signing method.',
    );
  }
  return { credential, policy: decodePolicy(encoded), signedAtMs };
}

function decodePolicy(encoded: string): string {
  if (encoded.length > maxPolicyLength || !/^[A-Za-z0-9+/\s]*={0,2}\s*$/.test(encoded)) throw invalidPolicy();
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(encoded, 'base64'));
  } catch {
    throw invalidPolicy();
  }
}

function invalidPolicy(): AuthError {
  return new AuthError('InvalidArgument', 'The policy of the form is not base64 of UTF-8.', {
    ArgumentName: 'policy',
  });
}

function required(fields: FormFields, name: string): string {
  const value = fields.get(name);
  if (value !== undefined && value !== '') return value;
  throw new AuthError(
    'InvalidArgument',
    `Bucket POST must contain a field named '${name}'. If it is specified, please check the order of the fields.`,
    { ArgumentName: name },
  );
}
