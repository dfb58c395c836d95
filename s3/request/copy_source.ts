import type { Authorize, ObjectSource } from '../../backend/backend.ts';
import { S3Error } from '../errors.ts';
import type { Call } from '../exchange.ts';
import { decodeForm } from '../http/percent.ts';
import { authorizeSource } from '../authorization.ts';
import { checkKey } from '../resource.ts';
import { sourceKey } from './encryption.ts';
import { given } from './parameters.ts';
import { readPreconditions } from './preconditions.ts';

/**
 * `x-amz-copy-source`: `/bucket/key?versionId=id`, in percent-encoding, the first slash optional.
 * @throws S3Error InvalidArgument
 */
export function copySource(call: Call): ObjectSource {
  const text = call.headers.get('x-amz-copy-source') ?? '';
  const { bucket, key, versionId } = parseCopySource(text);
  const authorize: Authorize = authorizeSource(
    call,
    versionId === undefined ? 's3:GetObject' : 's3:GetObjectVersion',
    { key, versionId },
  );
  const preconditions = readPreconditions(call.headers, {
    nowMs: call.services.clock(),
    prefix: 'x-amz-copy-source-',
  });
  return {
    bucket,
    key,
    authorize,
    ...given('customerKey', sourceKey(call)),
    ...given('versionId', versionId),
    ...given('preconditions', preconditions),
  };
}

function parseCopySource(text: string): { bucket: string; key: string; versionId: string | undefined } {
  const at = text.lastIndexOf('?versionId=');
  const path = at < 0 ? text : text.slice(0, at);
  const versionId = at < 0 ? undefined : decodeForm(text.slice(at + '?versionId='.length));
  if (versionId === '') throw invalid('Version id cannot be the empty string');
  if (path.startsWith('arn:')) throw new S3Error('NotImplemented', '', { Header: 'x-amz-copy-source' });
  // The separator may be encoded too: clients that encode the whole value exist.
  const decoded = decodeForm(path).replace(/^\//, '');
  const slash = decoded.indexOf('/');
  const bucket = slash < 0 ? decoded : decoded.slice(0, slash);
  const key = slash < 0 ? '' : decoded.slice(slash + 1);
  if (bucket === '' || key === '')
    throw invalid('Copy Source must mention the source bucket and key: sourcebucket/sourcekey');
  checkKey(key);
  return { bucket, key, versionId };
}

function invalid(message: string): S3Error {
  return new S3Error('InvalidArgument', message, { ArgumentName: 'x-amz-copy-source' });
}
