import type { ListVersionsRequest, VersionPage } from '../backend.ts';
import type { EngineContext } from './context.ts';
import { summaryOf } from './list_objects.ts';
import { checkListingText } from './object_keys.ts';
import { afterAllOf, escapeZeros, keyOfOrdered, orderedPrefix } from './row_keys.ts';
import { decodeVersion } from './rows.ts';
import { readBucket, readWithBucket } from './targets.ts';

/** Every version, newest first within a key; what no version was ever made of shows as version `null`. */
export async function listObjectVersions(
  context: EngineContext,
  request: ListVersionsRequest,
): Promise<VersionPage> {
  const { bucket, prefix, delimiter, keyMarker, maxKeys } = request;
  checkListingText('prefix', prefix);
  checkListingText('delimiter', delimiter);
  checkListingText('key marker', keyMarker);
  if (maxKeys < 1) {
    await readBucket(context, request);
    return { versions: [], prefixes: [] };
  }
  const startAfter = orderedStartAfter(bucket, { prefix, delimiter, marker: keyMarker });
  const { read } = await readWithBucket(context, request, {
    read: async () => {
      const page = await context.state.scan({
        table: 'versions',
        prefix: orderedPrefix(bucket, prefix),
        limit: maxKeys,
        ...(delimiter === undefined || delimiter === '' ? {} : { delimiter: escapeZeros(delimiter) }),
        ...(startAfter === undefined ? {} : { startAfter }),
      });
      return { page, rows: page.items.map(({ key, value }) => ({ key, row: decodeVersion(value) })) };
    },
    bucketIds: ({ rows }) => rows.map(({ row }) => row.bucketId),
  });
  const versions = read.rows.map(({ key, row }) => ({
    ...summaryOf(keyOfOrdered(bucket, key), row),
    versionId: row.versionId,
    isLatest: true,
    deleteMarker: false,
  }));
  const next = read.page.next;
  if (next === undefined) return { versions, prefixes: prefixesOf(bucket, read.page.prefixes) };
  const last = versions.at(-1);
  const nextKeyMarker = keyOfOrdered(bucket, next);
  return {
    versions,
    prefixes: prefixesOf(bucket, read.page.prefixes),
    nextKeyMarker,
    ...(last?.key === nextKeyMarker ? { nextVersionIdMarker: last.versionId } : {}),
  };
}

export function prefixesOf(bucket: string, prefixes: readonly Uint8Array[]): string[] {
  return prefixes.map((rowKey) => keyOfOrdered(bucket, rowKey));
}

/** A marker that is a common prefix passes over all under it; one that is a key passes over all rows of the key. */
export function orderedStartAfter(
  bucket: string,
  listing: {
    readonly prefix: string;
    readonly delimiter: string | undefined;
    readonly marker: string | undefined;
  },
): Uint8Array | undefined {
  const { prefix, delimiter, marker } = listing;
  if (marker === undefined || marker === '') return undefined;
  if (delimiter !== undefined && delimiter !== '' && marker.startsWith(prefix)) {
    const at = marker.indexOf(delimiter, prefix.length);
    if (at >= 0 && at + delimiter.length === marker.length) return orderedPrefix(bucket, marker);
  }
  return afterAllOf(bucket, marker);
}
