import type { DeleteObjectRequest } from '../../backend/backend.ts';
import { authorize } from '../authorization.ts';
import { S3Error } from '../errors.ts';
import type { Call } from '../exchange.ts';
import { emptyReply } from '../http/reply.ts';
import type { Operation } from '../operation.ts';
import { bypass } from './object_lock.ts';
import { originOf } from '../request/origin.ts';
import { given, versionId } from '../request/parameters.ts';
import { httpDate, writePreconditions } from '../request/preconditions.ts';

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObject.html */
export const deleteObject: Operation = {
  name: 'DeleteObject',
  async handle(call) {
    const version = versionId(call.query);
    const deleted = await call.services.backend.deleteObject({
      bucket: call.bucket,
      key: call.key,
      authorize: authorize(call, version === undefined ? 's3:DeleteObject' : 's3:DeleteObjectVersion'),
      origin: originOf(call),
      signal: call.signal,
      ...given('versionId', version),
      ...bypass(call),
      ...given('preconditions', deletePreconditions(call)),
    });
    const headers: Record<string, string> = {};
    if (deleted.versionId !== undefined) headers['x-amz-version-id'] = deleted.versionId;
    if (deleted.deleteMarker === true) headers['x-amz-delete-marker'] = 'true';
    return emptyReply(204, headers);
  },
};

function deletePreconditions(call: Call): DeleteObjectRequest['preconditions'] {
  const conditions = writePreconditions(call.headers);
  if (conditions?.ifNoneMatch !== undefined)
    throw new S3Error('NotImplemented', '', { Header: 'If-None-Match' });
  const timeText = call.headers.get('x-amz-if-match-last-modified-time');
  const sizeText = call.headers.get('x-amz-if-match-size');
  if (timeText === undefined && sizeText === undefined) return conditions;
  const lastModifiedMs = httpDate(timeText);
  if (timeText !== undefined && lastModifiedMs === undefined)
    throw invalid('x-amz-if-match-last-modified-time');
  if (sizeText !== undefined && !/^\d{1,15}$/.test(sizeText)) throw invalid('x-amz-if-match-size');
  return {
    ...conditions,
    ...given('lastModifiedMs', lastModifiedMs),
    ...given('sizeBytes', sizeText === undefined ? undefined : Number(sizeText)),
  };
}

function invalid(header: string): S3Error {
  return new S3Error('InvalidArgument', `The value of ${header} can't be read.`, { ArgumentName: header });
}
