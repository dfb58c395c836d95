import { createHash, timingSafeEqual } from 'node:crypto';
import type { EncryptionRequest, ObjectEncryption } from '../../backend/backend.ts';
import { authorize } from '../authorization.ts';
import { S3Error } from '../errors.ts';
import type { Call } from '../exchange.ts';
import type { RequestHeaders } from '../http/headers.ts';
import { given, invalidArgument } from './parameters.ts';

const sse = 'x-amz-server-side-encryption';
const kmsKeyId = `${sse}-aws-kms-key-id`;
const kmsContext = `${sse}-context`;
const bucketKeyEnabled = `${sse}-bucket-key-enabled`;
const customer = `${sse}-customer-`;
const sourceCustomer = `x-amz-copy-source-server-side-encryption-customer-`;
const customerKeyBytes = 32;
const maxContextBytes = 8192;

type Headers = Pick<RequestHeaders, 'get' | 'has'>;

/** What the parsing of these headers depends on besides them. */
interface Transport {
  /** Whether keys may come over this connection. */
  readonly secure: boolean;
}

/** Whether the client's keys can't be read by others on their way. */
export function transportOf(call: Call): Transport {
  return { secure: call.scheme === 'https' || call.services.customerKeysOverHttp };
}

/**
 * How an object that is written is to be encrypted, as its headers (or the fields of a form) ask.
 * @throws S3Error InvalidArgument, InvalidEncryptionAlgorithmError, InvalidRequest, NotImplemented
 */
export function encryptionRequest(headers: Headers, transport: Transport): EncryptionRequest | undefined {
  const key = customerKey(headers, transport, customer);
  const algorithm = headers.get(sse);
  if (key !== undefined) {
    const other = [sse, kmsKeyId, kmsContext, bucketKeyEnabled].find((name) => headers.has(name));
    if (other === undefined) return { type: 'customer', key };
    throw invalidArgument(
      other,
      headers.get(other) ?? '',
      'Server Side Encryption with Customer provided key is incompatible with the encryption method specified',
    );
  }
  const keyId = headers.get(kmsKeyId);
  const context = headers.get(kmsContext);
  const bucketKey = headers.get(bucketKeyEnabled);
  if (algorithm === 'aws:kms') {
    return {
      type: 'aws:kms',
      ...given('keyId', keyId),
      ...given('context', context === undefined ? undefined : parseContext(context)),
      ...given('bucketKey', bucketKey === undefined ? undefined : parseFlag(bucketKey)),
    };
  }
  if (algorithm === 'aws:kms:dsse') throw new S3Error('NotImplemented', '', { Header: sse });
  if (algorithm !== undefined && algorithm !== 'AES256') {
    throw invalidArgument(sse, algorithm, 'The encryption method specified is not supported');
  }
  for (const [name, value] of [
    [kmsKeyId, keyId],
    [kmsContext, context],
  ] as const) {
    if (value !== undefined) {
      throw invalidArgument(
        algorithm === undefined ? name : sse,
        algorithm ?? value,
        `Server Side Encryption with AWS KMS managed key requires HTTP header ${sse} : aws:kms`,
      );
    }
  }
  return algorithm === undefined ? undefined : { type: 'AES256' };
}

/**
 * The client's key that comes with the request, as GetObject, HeadObject, UploadPart and Complete take it.
 * @throws S3Error as `encryptionRequest`
 */
export function requestKey(call: Call): Uint8Array | undefined {
  return customerKey(call.headers, transportOf(call), customer);
}

/** The key of the source of a copy. @throws S3Error as `encryptionRequest` */
export function sourceKey(call: Call): Uint8Array | undefined {
  return customerKey(call.headers, transportOf(call), sourceCustomer);
}

/**
 * The key for a read. How an object is encrypted can't be asked for when it is read.
 * @throws S3Error as `encryptionRequest`
 */
export function readerKey(call: Call): Uint8Array | undefined {
  const value = call.headers.get(sse);
  if (value !== undefined)
    throw invalidArgument(sse, value, `${sse} header is not supported for this operation.`);
  return requestKey(call);
}

/**
 * Reads encryption headers. What is wrong with them is told only to those who may do what they ask: a policy may refuse
 * a request for those very headers.
 */
export async function refusedToTheAuthorized<T>(call: Call, action: string, read: () => T): Promise<T> {
  try {
    return read();
  } catch (error) {
    await call.services.backend.headBucket({
      bucket: call.bucket,
      authorize: authorize(call, action),
      signal: call.signal,
    });
    throw error;
  }
}

/** The headers that tell how an object, or what was written of it, is encrypted. */
export function encryptionHeaders(
  encryption: ObjectEncryption | undefined,
  request: RequestHeaders,
): Record<string, string> {
  switch (encryption?.type) {
    case undefined:
      return {};
    case 'AES256':
      return { [sse]: 'AES256' };
    case 'aws:kms':
      return {
        [sse]: 'aws:kms',
        [kmsKeyId]: encryption.keyId,
        ...(encryption.bucketKey ? { [bucketKeyEnabled]: 'true' } : {}),
      };
    case 'customer':
      return {
        [`${customer}algorithm`]: 'AES256',
        ...given(`${customer}key-MD5`, request.get(`${customer}key-md5`)),
      };
  }
}

function customerKey(headers: Headers, transport: Transport, prefix: string): Uint8Array | undefined {
  const names = { algorithm: `${prefix}algorithm`, key: `${prefix}key`, md5: `${prefix}key-md5` };
  const algorithm = headers.get(names.algorithm);
  const key = headers.get(names.key);
  const md5 = headers.get(names.md5);
  if (algorithm === undefined && key === undefined && md5 === undefined) return undefined;
  if (!transport.secure) {
    throw new S3Error(
      'InvalidRequest',
      'Requests specifying Server Side Encryption with Customer provided keys must be made over a secure connection.',
    );
  }
  const must = 'Requests specifying Server Side Encryption with Customer provided keys must provide';
  if (algorithm === undefined) {
    throw invalidArgument(names.algorithm, '', `${must} a valid encryption algorithm.`);
  }
  if (algorithm !== 'AES256') throw new S3Error('InvalidEncryptionAlgorithmError');
  if (key === undefined) throw missing(names.key, `${must} an appropriate secret key.`);
  const bytes = decodeBase64(key);
  if (bytes?.length !== customerKeyBytes) {
    throw missing(names.key, 'The secret key was invalid for the specified algorithm.');
  }
  if (md5 === undefined) {
    throw missing(names.md5, `${must} the client calculated MD5 of the secret key.`);
  }
  const digest = createHash('md5').update(bytes).digest();
  const claimed = decodeBase64(md5);
  if (claimed?.length !== digest.length || !timingSafeEqual(claimed, digest)) {
    throw missing(names.md5, 'The calculated MD5 hash of the key did not match the hash that was provided.');
  }
  return bytes;
}

/** Without the value: answers don't repeat keys. */
function missing(name: string, message: string): S3Error {
  return new S3Error('InvalidArgument', message, { ArgumentName: name });
}

function decodeBase64(text: string): Uint8Array | undefined {
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64').replace(/=+$/, '') === text.replace(/=+$/, '')
    ? new Uint8Array(bytes)
    : undefined;
}

/** Base64 of a JSON object of texts. */
function parseContext(text: string): Readonly<Record<string, string>> {
  const bytes = decodeBase64(text);
  const value = bytes === undefined || bytes.length > maxContextBytes ? undefined : parseJson(bytes);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalidContext();
  const context: [string, string][] = [];
  for (const [name, entry] of Object.entries(value)) {
    if (typeof entry !== 'string') throw invalidContext();
    context.push([name, entry]);
  }
  return Object.fromEntries(context);
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    throw invalidContext();
  }
}

function invalidContext(): S3Error {
  return new S3Error('InvalidArgument', 'The header x-amz-server-side-encryption-context is invalid', {
    ArgumentName: kmsContext,
  });
}

function parseFlag(value: string): boolean {
  const flag = value.toLowerCase();
  if (flag === 'true' || flag === 'false') return flag === 'true';
  throw invalidArgument(bucketKeyEnabled, value, `The value of ${bucketKeyEnabled} must be true or false.`);
}
