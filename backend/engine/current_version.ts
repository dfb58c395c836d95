import type { Operation } from '../../s3db/database.ts';
import type { Checksum, ObjectMetadata, Owner } from '../backend.ts';
import type { EngineContext } from './context.ts';
import type { Growth } from './object_changes.ts';
import { deletedKey, versionKey } from './row_keys.ts';
import { encodeContent, encodeDeleted, encodeVersion, type ContentRow, type VersionRow } from './rows.ts';
import type { Target } from './targets.ts';

export const STANDARD = 'STANDARD';
/** What S3 calls the version of an object in a bucket that isn't versioned. */
export const NULL_VERSION = 'null';

/** A version that is to become the current one. */
interface NewVersion {
  readonly key: string;
  readonly contentId: Uint8Array;
  readonly sizeBytes: number;
  readonly etag: string;
  readonly owner: Owner;
  readonly metadata: ObjectMetadata;
  readonly storageClass: string;
  readonly checksum?: Checksum;
  readonly acl?: string | undefined;
  /** Where the bytes are. */
  readonly place: Pick<ContentRow, 'locator' | 'sealed' | 'sse'> | Pick<ContentRow, 'parts' | 'sse'>;
}

/**
 * Rows that make `version` the current one in place of the one in `target`, whose content becomes garbage. The
 * order of versions doesn't depend on clocks agreeing: each is later than the one it replaces.
 */
export function replaceCurrent(
  context: EngineContext,
  target: Target,
  version: NewVersion,
): { readonly operations: Operation[]; readonly mtimeMs: number; readonly growth: Growth } {
  const previous = target.current?.row;
  const nowMs = Math.floor(context.clock());
  const mtimeMs = previous === undefined ? nowMs : Math.max(nowMs, previous.mtimeMs + 1);
  const bucket = target.bucket.row;
  const row: VersionRow = {
    bucketId: bucket.id,
    contentId: version.contentId,
    versionId: NULL_VERSION,
    mtimeMs,
    sizeBytes: version.sizeBytes,
    etag: version.etag,
    owner: version.owner,
    storageClass: version.storageClass,
    ...(version.checksum === undefined
      ? {}
      : { checksum: { algorithm: version.checksum.algorithm, type: version.checksum.type } }),
    ...(version.acl === undefined ? {} : { acl: version.acl }),
  };
  const value = encodeVersion(row);
  const content = encodeContent({
    sizeBytes: version.sizeBytes,
    metadata: version.metadata,
    ...version.place,
    ...(version.checksum === undefined ? {} : { checksum: version.checksum }),
  });
  return {
    mtimeMs,
    growth: {
      bytes: version.sizeBytes - (previous?.sizeBytes ?? 0),
      versions: previous === undefined ? 1 : 0,
    },
    operations: [
      ...dropVersion(context, { bucket: bucket.name, key: version.key, row: previous }),
      { type: 'put', table: 'objects', key: target.currentKey, value },
      { type: 'put', table: 'objects', key: version.contentId, value: content },
      {
        type: 'put',
        table: 'versions',
        key: versionKey(bucket.name, { key: version.key, mtimeMs }),
        value,
      },
    ],
  };
}

/** Rows that remove the current version; its content becomes garbage. */
export function removeCurrent(context: EngineContext, target: Target, key: string): Operation[] {
  return [
    ...dropVersion(context, { bucket: target.bucket.row.name, key, row: target.current?.row }),
    { type: 'delete', table: 'objects', key: target.currentKey },
  ];
}

function dropVersion(
  context: EngineContext,
  version: { readonly bucket: string; readonly key: string; readonly row: VersionRow | undefined },
): Operation[] {
  const { bucket, key, row } = version;
  if (row === undefined) return [];
  return [
    { type: 'delete', table: 'versions', key: versionKey(bucket, { key, mtimeMs: row.mtimeMs }) },
    makeGarbage(context, row.contentId),
  ];
}

/** From now on nothing names the content; the garbage worker frees it when its time has come. */
export function makeGarbage(context: EngineContext, contentId: Uint8Array): Operation {
  return {
    type: 'put',
    table: 'objects',
    key: deletedKey(contentId),
    value: encodeDeleted({ deletedMs: Math.floor(context.clock()) }),
  };
}
