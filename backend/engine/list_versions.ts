import type { ListVersionsRequest, VersionPage, VersionSummary } from '../backend.ts';
import type { EngineContext } from './context.ts';
import { refuse } from './context.ts';
import { nullVersionMarker, timeOfVersionId } from './ids.ts';
import { summaryOf } from './list_objects.ts';
import { checkListingText } from './object_keys.ts';
import {
  afterAllOf,
  escapeZeros,
  keyOfOrdered,
  orderedPrefix,
  versionKey,
  versionsOfKey,
} from './row_keys.ts';
import { decodeVersion, type VersionRow } from './rows.ts';
import { readBucket, readVersionTarget, readWithBucket } from './targets.ts';
import { NULL_VERSION } from './versioning.ts';

/**
 * One page, at the cost of one page: every version and delete marker, newest first within a key. A page may begin
 * within the versions of a key, so what is first in it isn't always the key's newest.
 */
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
  const startAfter = await startOf(context, request);
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
  const within = keyMarker !== undefined && request.versionIdMarker !== undefined ? keyMarker : undefined;
  const versions = summaries(bucket, read.rows, within);
  const next = read.page.next;
  if (next === undefined) return { versions, prefixes: prefixesOf(bucket, read.page.prefixes) };
  const last = read.rows.at(-1)?.row;
  const nextKeyMarker = keyOfOrdered(bucket, next);
  return {
    versions,
    prefixes: prefixesOf(bucket, read.page.prefixes),
    nextKeyMarker,
    ...(last !== undefined && versions.at(-1)?.key === nextKeyMarker
      ? { nextVersionIdMarker: markerOf(last) }
      : {}),
  };
}

/** @param within the key after one of whose versions the page begins. */
function summaries(
  bucket: string,
  rows: readonly { readonly key: Uint8Array; readonly row: VersionRow }[],
  within: string | undefined,
): VersionSummary[] {
  let before = within;
  return rows.map(({ key: rowKey, row }) => {
    const key = keyOfOrdered(bucket, rowKey);
    const isLatest = key !== before;
    before = key;
    return {
      ...summaryOf(key, row),
      versionId: row.versionId,
      isLatest,
      deleteMarker: row.deleteMarker === true,
    };
  });
}

/** `null` alone wouldn't tell where to go on once that version was replaced. */
function markerOf(row: VersionRow): string {
  return row.versionId === NULL_VERSION ? nullVersionMarker(row.mtimeMs) : row.versionId;
}

/** @throws BackendError InvalidArgument for what can't be the id of a version. */
async function startOf(
  context: EngineContext,
  request: ListVersionsRequest,
): Promise<Uint8Array | undefined> {
  const { bucket, prefix, delimiter, keyMarker, versionIdMarker } = request;
  if (keyMarker === undefined || versionIdMarker === undefined) {
    return orderedStartAfter(bucket, { prefix, delimiter, marker: keyMarker });
  }
  const mtimeMs = timeOfVersionId(versionIdMarker);
  if (mtimeMs !== undefined) return versionKey(bucket, { key: keyMarker, mtimeMs });
  if (versionIdMarker !== NULL_VERSION) {
    refuse('InvalidArgument', 'Invalid version id specified', {
      ArgumentName: 'version-id-marker',
      ArgumentValue: versionIdMarker,
    });
  }
  const { version } = await readVersionTarget(context, {
    ...request,
    key: keyMarker,
    versionId: NULL_VERSION,
  });
  return version?.key ?? versionsOfKey(bucket, keyMarker);
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
