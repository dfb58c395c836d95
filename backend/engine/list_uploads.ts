import type { ListUploadsRequest, UploadPage } from '../backend.ts';
import type { EngineContext } from './context.ts';
import { refuse } from './context.ts';
import { parseUploadId, uploadIdText } from './ids.ts';
import { orderedStartAfter, prefixesOf } from './list_versions.ts';
import { checkListingText } from './object_keys.ts';
import { escapeZeros, keyOfOrdered, orderedPrefix, uploadIdOfKey, uploadKey } from './row_keys.ts';
import { decodeUpload } from './rows.ts';
import { readBucket, readWithBucket } from './targets.ts';

/** Uploads in flight in order of key, then of the time when they began. */
export async function listMultipartUploads(
  context: EngineContext,
  request: ListUploadsRequest,
): Promise<UploadPage> {
  const { bucket, prefix, delimiter, maxUploads } = request;
  checkListingText('prefix', prefix);
  checkListingText('delimiter', delimiter);
  checkListingText('key marker', request.keyMarker);
  if (maxUploads < 1) {
    await readBucket(context, request);
    return { uploads: [], prefixes: [] };
  }
  const startAfter = startOf(request);
  const { read } = await readWithBucket(context, request, {
    read: async () => {
      const page = await context.state.scan({
        table: 'multipart',
        prefix: orderedPrefix(bucket, prefix),
        limit: Math.min(maxUploads, 1000),
        ...(delimiter === undefined || delimiter === '' ? {} : { delimiter: escapeZeros(delimiter) }),
        ...(startAfter === undefined ? {} : { startAfter }),
      });
      return { page, rows: page.items.map(({ key, value }) => ({ key, row: decodeUpload(value) })) };
    },
    bucketIds: ({ rows }) => rows.map(({ row }) => row.bucketId),
  });
  const uploads = read.rows.map(({ key, row }) => ({
    key: keyOfOrdered(bucket, key),
    uploadId: uploadIdText(uploadIdOfKey(key)),
    initiatedMs: row.initiatedMs,
    owner: row.owner,
    initiator: row.initiator ?? row.owner,
    storageClass: row.storageClass,
  }));
  const prefixes = prefixesOf(bucket, read.page.prefixes);
  const next = read.page.next;
  if (next === undefined) return { uploads, prefixes };
  const last = uploads.at(-1);
  const nextKeyMarker = keyOfOrdered(bucket, next);
  return {
    uploads,
    prefixes,
    nextKeyMarker,
    ...(last?.key === nextKeyMarker ? { nextUploadIdMarker: last.uploadId } : {}),
  };
}

function startOf(request: ListUploadsRequest): Uint8Array | undefined {
  const { bucket, keyMarker, uploadIdMarker } = request;
  if (keyMarker !== undefined && keyMarker !== '' && uploadIdMarker !== undefined && uploadIdMarker !== '') {
    const uploadId =
      parseUploadId(uploadIdMarker) ??
      refuse('InvalidArgument', 'Invalid uploadId marker', { ArgumentName: 'upload-id-marker' });
    return uploadKey(bucket, { key: keyMarker, uploadId });
  }
  return orderedStartAfter(bucket, {
    prefix: request.prefix,
    delimiter: request.delimiter,
    marker: keyMarker,
  });
}
