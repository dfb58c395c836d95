import type { HeadObjectRequest, ObjectHead } from '../../backend/backend.ts';
import { BackendError } from '../../backend/errors.ts';
import { readingObject } from '../authorization.ts';
import { S3Error } from '../errors.ts';
import type { Call } from '../exchange.ts';
import { readerKey, refusedToTheAuthorized } from './encryption.ts';
import { given, partNumber, versionId } from './parameters.ts';
import { httpDate, parseETags, readPreconditions } from './preconditions.ts';
import { parseRange } from './range.ts';
import { headerValue } from './header_text.ts';

/** Runs GetObject or HeadObject with everything that a read may ask for. */
export async function readObject<T extends ObjectHead>(
  call: Call,
  read: (request: HeadObjectRequest) => Promise<T>,
): Promise<T> {
  const version = versionId(call.query);
  const action = version === undefined ? 's3:GetObject' : 's3:GetObjectVersion';
  const range = parseRange(call.headers.get('range'));
  const part = call.query.has('partNumber') ? partNumber(call.query) : undefined;
  if (range !== undefined && part !== undefined) {
    throw new S3Error('InvalidRequest', 'Cannot specify both Range header and partNumber query parameter');
  }
  const preconditions = readPreconditions(call.headers, { nowMs: call.services.clock() });
  const customerKey = await refusedToTheAuthorized(call, action, () => readerKey(call));
  return readingObject(call, action, async (authorize) => {
    const request: HeadObjectRequest = {
      bucket: call.bucket,
      key: call.key,
      authorize,
      signal: call.signal,
      ...given('versionId', version),
      ...given('partNumber', part),
      ...given('customerKey', customerKey),
      ...given('preconditions', preconditions),
    };
    if (range === undefined) return read(request);
    const ifRange = call.headers.get('if-range');
    if (ifRange === undefined) return read({ ...request, range });
    return readIfRange(request, { read, ifRange, range });
  });
}

/**
 * `If-Range`: the range if the object is still the one the client has a part of, else the whole. Done by one read on
 * that condition and, when it fails, another without.
 */
async function readIfRange<T>(
  request: HeadObjectRequest,
  options: {
    readonly read: (request: HeadObjectRequest) => Promise<T>;
    readonly ifRange: string;
    readonly range: NonNullable<HeadObjectRequest['range']>;
  },
): Promise<T> {
  const { read, ifRange, range } = options;
  const unmodifiedSince = ifRange.includes('"') ? undefined : httpDate(ifRange);
  const condition =
    unmodifiedSince === undefined
      ? { ifMatch: parseETags(ifRange) }
      : { ifUnmodifiedSinceMs: unmodifiedSince };
  try {
    return await read({ ...request, range, preconditions: { ...request.preconditions, ...condition } });
  } catch (error) {
    if (error instanceof BackendError && error.code === 'PreconditionFailed') return read(request);
    throw error;
  }
}

const overrides: readonly (readonly [parameter: string, header: string])[] = [
  ['response-content-type', 'content-type'],
  ['response-content-language', 'content-language'],
  ['response-expires', 'expires'],
  ['response-cache-control', 'cache-control'],
  ['response-content-disposition', 'content-disposition'],
  ['response-content-encoding', 'content-encoding'],
];

/** Names of the parameters that replace headers of the answer. */
export const overrideParameters: readonly string[] = overrides.map(([parameter]) => parameter);

/**
 * The headers that `response-*` parameters put in place of the object's own.
 * @throws S3Error InvalidRequest for anonymous callers, who could make others' browsers see anything.
 */
export function responseOverrides(call: Call): Readonly<Record<string, string>> {
  const headers: Record<string, string> = {};
  if (call.query.size === 0) return headers;
  for (const [parameter, header] of overrides) {
    const value = call.query.get(parameter);
    if (value === undefined) continue;
    if (call.caller.kind === 'anonymous') {
      throw new S3Error(
        'InvalidRequest',
        'Request specific response headers cannot be used for anonymous GET requests.',
      );
    }
    if (/[\u0000\r\n]/.test(value)) {
      throw new S3Error('InvalidArgument', 'Header values must not contain line breaks.', {
        ArgumentName: parameter,
      });
    }
    if (value !== '') headers[header] = headerValue(value);
  }
  return headers;
}
