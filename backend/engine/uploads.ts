import type { Condition, Operation } from '../../s3db/database.ts';
import type { UploadRequest } from '../backend.ts';
import type { EngineContext } from './context.ts';
import { refuse } from './context.ts';
import { parseUploadId } from './ids.ts';
import { STATE_KEYS, uploadKey } from './row_keys.ts';
import { decodeUpload, encodeCleanup, type UploadRow } from './rows.ts';
import type { LoadedBucket } from './bucket_settings.ts';
import { bucketUnchanged, readWithBucket, type ReadRow } from './targets.ts';

/** An upload in flight, as it was read. */
export interface UploadTarget {
  readonly bucket: ReadRow<LoadedBucket>;
  readonly uploadId: Uint8Array;
  readonly upload: ReadRow<UploadRow>;
}

/** @throws BackendError NoSuchUpload, NoSuchBucket, or what `authorize` throws. */
export async function readUpload(context: EngineContext, request: UploadRequest): Promise<UploadTarget> {
  const { bucket, uploadId, upload } = await findUpload(context, request);
  return { bucket, uploadId, upload: upload ?? refuseUpload(request) };
}

export async function findUpload(
  context: EngineContext,
  request: UploadRequest,
): Promise<Omit<UploadTarget, 'upload'> & { readonly upload: ReadRow<UploadRow> | undefined }> {
  const uploadId = parseUploadId(request.uploadId);
  const key = uploadId === undefined ? undefined : uploadKey(request.bucket, { key: request.key, uploadId });
  const { bucket, read } = await readWithBucket(context, request, {
    read: async () => {
      const bytes = key === undefined ? undefined : await context.state.get('multipart', key);
      if (key === undefined || bytes === undefined) return undefined;
      return { key, bytes, row: decodeUpload(bytes) };
    },
    bucketIds: (upload) => (upload === undefined ? [] : [upload.row.bucketId]),
  });
  return { bucket, uploadId: uploadId ?? refuseUpload(request), upload: read };
}

export function refuseUpload(request: UploadRequest): never {
  return refuse(
    'NoSuchUpload',
    'The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.',
    { UploadId: request.uploadId },
  );
}

/** Holds as long as the upload is neither completed nor aborted, and its bucket is what was authorized. */
export function uploadUnchanged(target: UploadTarget): Condition[] {
  return [
    bucketUnchanged(target.bucket),
    { table: 'multipart', key: target.upload.key, equals: target.upload.bytes },
  ];
}

/**
 * Ends the upload. Its part rows don't fit into one batch, so a row goes in that has the garbage worker remove them,
 * and free the content of those that the object `contentId` didn't take over.
 */
export function endUpload(
  target: Pick<UploadTarget, 'upload' | 'uploadId'>,
  contentId?: Uint8Array,
): Operation[] {
  return [
    { type: 'delete', table: 'multipart', key: target.upload.key },
    {
      type: 'put',
      table: 'state',
      key: STATE_KEYS.cleanup(target.uploadId),
      value: encodeCleanup(contentId === undefined ? {} : { contentId }),
    },
  ];
}
