import type { Condition, Operation } from '../../s3db/database.ts';
import type { Checksum, ObjectLock, ObjectMetadata, Owner, Tags } from '../backend.ts';
import type { EngineContext } from './context.ts';
import { mintVersionId } from './ids.ts';
import { checkRemovable, lockAt } from './object_lock.ts';
import type { Growth } from './object_changes.ts';
import { deletedKey, versionKey } from './row_keys.ts';
import { encodeContent, encodeDeleted, encodeVersion, type ContentRow, type VersionRow } from './rows.ts';
import { headOf, readNull, rowUnchanged, unchanged, type ReadRow, type Target } from './targets.ts';
import { NULL_VERSION, versioningOf } from './versioning.ts';

export const STANDARD = 'STANDARD';

/** A version that is to become the current one. */
interface NewVersion {
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
  readonly tags?: Tags | undefined;
  readonly lock?: ObjectLock | undefined;
}

/** Part of a batch that changes the versions of a key. */
export interface VersionChange {
  readonly conditions: readonly Condition[];
  readonly operations: readonly Operation[];
  /** The version that is made or removed. */
  readonly row: VersionRow;
  readonly growth: Growth;
}

/** What an answer says of the id of a version that was written: nothing where versioning isn't enabled. */
export function shownVersionId(row: VersionRow): { readonly versionId?: string } {
  return row.versionId === NULL_VERSION ? {} : { versionId: row.versionId };
}

/** Rows that make `version` the newest one of its key. What it takes the place of becomes garbage. */
export async function replaceCurrent(
  context: EngineContext,
  target: Target,
  version: NewVersion,
): Promise<VersionChange> {
  const { checksum, tags } = version;
  const change = await putOnTop(context, target, (mtimeMs) => {
    const lock = lockAt(target.bucket.row, version.lock, mtimeMs);
    return {
      contentId: version.contentId,
      sizeBytes: version.sizeBytes,
      etag: version.etag,
      owner: version.owner,
      storageClass: version.storageClass,
      ...(checksum === undefined ? {} : { checksum: { algorithm: checksum.algorithm, type: checksum.type } }),
      ...(version.acl === undefined ? {} : { acl: version.acl }),
      ...(tags === undefined ? {} : { tags }),
      ...(lock === undefined ? {} : { lock }),
    };
  });
  const content = encodeContent({
    sizeBytes: version.sizeBytes,
    metadata: version.metadata,
    ...version.place,
    ...(checksum === undefined ? {} : { checksum }),
  });
  return {
    ...change,
    operations: [
      ...change.operations,
      { type: 'put', table: 'objects', key: version.contentId, value: content },
    ],
  };
}

/** Rows that make a delete marker the newest version of the key. */
export async function markDeleted(
  context: EngineContext,
  target: Target,
  owner: Owner,
): Promise<VersionChange> {
  return putOnTop(context, target, () => ({
    contentId: new Uint8Array(0),
    sizeBytes: 0,
    etag: '',
    owner,
    storageClass: STANDARD,
    deleteMarker: true,
  }));
}

/**
 * The order of versions doesn't depend on clocks agreeing: each is later than the one before it. Where versioning is
 * enabled nothing is replaced; else the new version is the `null` one, in place of the one that was.
 */
async function putOnTop(
  context: EngineContext,
  target: Target,
  versionAt: (mtimeMs: number) => Omit<VersionRow, 'bucketId' | 'versionId' | 'mtimeMs' | 'nullMtimeMs'>,
): Promise<VersionChange> {
  const newest = headOf(target)?.row;
  const nowMs = Math.floor(context.clock());
  const mtimeMs = newest === undefined ? nowMs : Math.max(nowMs, newest.mtimeMs + 1);
  const { id: bucketId, name: bucket } = target.bucket.row;
  const enabled = versioningOf(target.bucket.row) === 'Enabled';
  const replaced = enabled ? noVersion : await nullVersion(context, target);
  const row: VersionRow = {
    ...versionAt(mtimeMs),
    bucketId,
    mtimeMs,
    versionId: enabled ? mintVersionId(context, mtimeMs) : NULL_VERSION,
  };
  const key = versionKey(bucket, { key: target.key, mtimeMs });
  const objects = row.deleteMarker === true ? 0 : 1;
  return {
    row,
    growth: {
      bytes: row.sizeBytes + replaced.growth.bytes,
      versions: objects + replaced.growth.versions,
    },
    conditions: [...unchanged(target), ...replaced.conditions],
    operations: [
      ...replaced.operations,
      ...putHead(target, enabled ? withNullOf(row, newest) : row),
      { type: 'put', table: 'versions', key, value: encodeVersion(row) },
    ],
  };
}

const noVersion = { conditions: [], operations: [], growth: { bytes: 0, versions: 0 } };

async function nullVersion(context: EngineContext, target: Target): Promise<Omit<VersionChange, 'row'>> {
  const newest = headOf(target)?.row;
  const bucket = target.bucket.row.name;
  const check = (row: VersionRow): void =>
    checkRemovable(context, { key: target.key, row, bucket: target.bucket.row }, undefined);
  if (newest?.versionId === NULL_VERSION) {
    check(newest);
    // Head and row in `versions` change together: the condition on the head is enough.
    return {
      conditions: [],
      operations: dropVersion(context, {
        key: versionKey(bucket, { key: target.key, mtimeMs: newest.mtimeMs }),
        row: newest,
      }),
      growth: lessOf(newest),
    };
  }
  const found = await readNull(context, { bucket, key: target.key }, target);
  if (found === undefined) return noVersion;
  check(found.row);
  return {
    conditions: [rowUnchanged('versions', found.key, found)],
    operations: dropVersion(context, found),
    growth: lessOf(found.row),
  };
}

/** What a bucket holds less without a version. */
export function lessOf(row: VersionRow): Growth {
  return row.deleteMarker === true ? noVersion.growth : { bytes: -row.sizeBytes, versions: -1 };
}

/** A new head knows of the `null` version that it or its predecessor buried. */
function withNullOf(row: VersionRow, newest: VersionRow | undefined): VersionRow {
  const nullMtimeMs = newest?.versionId === NULL_VERSION ? newest.mtimeMs : newest?.nullMtimeMs;
  return nullMtimeMs === undefined ? row : { ...row, nullMtimeMs };
}

/** Where the head belongs, and not where it was before. */
export function putHead(target: Target, head: VersionRow): Operation[] {
  const value = encodeVersion(head);
  const { currentKey, markerKey } = target;
  if (head.deleteMarker === true) {
    return [
      ...(target.current === undefined ? [] : [remove('objects', currentKey)]),
      { type: 'put', table: 'versions', key: markerKey, value },
    ];
  }
  return [
    ...(target.marker === undefined ? [] : [remove('versions', markerKey)]),
    { type: 'put', table: 'objects', key: currentKey, value },
  ];
}

export function dropHead(target: Target): Operation[] {
  return [
    ...(target.current === undefined ? [] : [remove('objects', target.currentKey)]),
    ...(target.marker === undefined ? [] : [remove('versions', target.markerKey)]),
  ];
}

function remove(table: string, key: Uint8Array): Operation {
  return { type: 'delete', table, key };
}

/** Removes a row of `versions`; what content it names becomes garbage. */
export function dropVersion(
  context: EngineContext,
  version: Pick<ReadRow<VersionRow>, 'key' | 'row'>,
): Operation[] {
  return [
    remove('versions', version.key),
    ...(version.row.deleteMarker === true ? [] : [makeGarbage(context, version.row.contentId)]),
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
