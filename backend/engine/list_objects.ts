import type { ListObjectsRequest, ObjectPage, ObjectSummary } from '../backend.ts';
import type { EngineContext } from './context.ts';
import { checkListingText } from './object_keys.ts';
import { currentKey, keyOfCurrent } from './row_keys.ts';
import { decodeVersion, type VersionRow } from './rows.ts';
import { readBucket, readWithBucket } from './targets.ts';

/** One page, at the cost of one page: the scan skips what lies under common prefixes. */
export async function listObjects(context: EngineContext, request: ListObjectsRequest): Promise<ObjectPage> {
  const { bucket, prefix, delimiter, startAfter, maxKeys } = request;
  checkListingText('prefix', prefix);
  checkListingText('delimiter', delimiter);
  checkListingText('marker', startAfter);
  if (maxKeys < 1) {
    await readBucket(context, request);
    return { objects: [], prefixes: [] };
  }
  const { read } = await readWithBucket(context, request, {
    read: async () => {
      const page = await context.state.scan({
        table: 'objects',
        prefix: currentKey(bucket, prefix),
        limit: maxKeys,
        ...(delimiter === undefined || delimiter === '' ? {} : { delimiter: Buffer.from(delimiter, 'utf8') }),
        ...(startAfter === undefined || startAfter === ''
          ? {}
          : { startAfter: currentKey(bucket, startAfter) }),
      });
      return { page, rows: page.items.map(({ key, value }) => ({ key, row: decodeVersion(value) })) };
    },
    bucketIds: ({ rows }) => rows.map(({ row }) => row.bucketId),
  });
  const next = read.page.next;
  return {
    objects: read.rows.map(({ key, row }) => summaryOf(keyOfCurrent(bucket, key), row)),
    prefixes: read.page.prefixes.map((rowKey) => keyOfCurrent(bucket, rowKey)),
    ...(next === undefined ? {} : { next: keyOfCurrent(bucket, next) }),
  };
}

export function summaryOf(key: string, row: VersionRow): ObjectSummary {
  return {
    key,
    sizeBytes: row.sizeBytes,
    etag: row.etag,
    lastModifiedMs: row.mtimeMs,
    owner: row.owner,
    storageClass: row.storageClass,
    ...(row.checksum === undefined ? {} : { checksum: row.checksum }),
  };
}
