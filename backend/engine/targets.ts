import type { Authorize, ExistingObject } from '../backend.ts';
import type { Condition } from '../../s3db/database.ts';
import type { EngineContext } from './context.ts';
import { refuse } from './context.ts';
import { bucketKey, currentKey } from './row_keys.ts';
import { decodeBucket, decodeVersion, type VersionRow } from './rows.ts';
import { loadSettings, type LoadedBucket } from './bucket_settings.ts';

const maxReads = 4;

/** A row as it was read: decoded, and its very bytes for the condition of a batch. */
export interface ReadRow<Row> {
  readonly key: Uint8Array;
  readonly bytes: Uint8Array;
  readonly row: Row;
}

/** What every mutation of an object reads, and is conditional on. */
export interface Target {
  readonly bucket: ReadRow<LoadedBucket>;
  /** The current version's row. */
  readonly current: ReadRow<VersionRow> | undefined;
  readonly currentKey: Uint8Array;
}

export interface TargetName {
  readonly bucket: string;
  readonly key: string;
  readonly authorize: Authorize;
}

/** @throws BackendError NoSuchBucket, or what `authorize` throws. */
export async function readBucket(
  context: EngineContext,
  request: { readonly bucket: string; readonly authorize: Authorize },
): Promise<ReadRow<LoadedBucket>> {
  return authorized(await findBucket(context, request.bucket), request);
}

export async function findBucket(
  context: EngineContext,
  bucket: string,
): Promise<ReadRow<LoadedBucket> | undefined> {
  const key = bucketKey(bucket);
  for (let reads = 0; reads < maxReads; reads++) {
    const bytes = await context.state.get('buckets', key);
    if (bytes === undefined) return undefined;
    const row = decodeBucket(bytes);
    const settings = await loadSettings(context, row);
    if (settings !== undefined) return { key, bytes, row: { ...row, settings } };
  }
  return refuse('SlowDown', 'The bucket keeps changing. Please try again.');
}

function authorized(
  bucket: ReadRow<LoadedBucket> | undefined,
  request: { readonly bucket: string; readonly authorize: Authorize },
  object?: ExistingObject,
): ReadRow<LoadedBucket> {
  if (bucket === undefined) {
    refuse('NoSuchBucket', 'The specified bucket does not exist', { BucketName: request.bucket });
  }
  request.authorize(bucket.row, object);
  return bucket;
}

/**
 * Reads what belongs to a bucket together with the bucket's row. The two reads run side by side, so a bucket that is
 * deleted and made anew by somebody else between them could lend its permissions to what was in the old one:
 * `bucketIds` tells those of what was read, and a mismatch has both read again.
 */
export async function readWithBucket<Read>(
  context: EngineContext,
  request: { readonly bucket: string; readonly authorize: Authorize },
  inside: {
    readonly read: () => Promise<Read>;
    readonly bucketIds: (read: Read) => Iterable<Uint8Array>;
    /** The object that the request is about, for `authorize`. */
    readonly object?: (read: Read) => ExistingObject | undefined;
  },
): Promise<{ bucket: ReadRow<LoadedBucket>; read: Read }> {
  for (let reads = 0; reads < maxReads; reads++) {
    const [found, read] = await Promise.all([findBucket(context, request.bucket), inside.read()]);
    const ownRows = [...inside.bucketIds(read)].every(
      (id) => found === undefined || Buffer.compare(id, found.row.id) === 0,
    );
    if (ownRows) return { bucket: authorized(found, request, inside.object?.(read)), read };
  }
  return refuse('SlowDown', 'The bucket keeps changing. Please try again.');
}

/** @throws BackendError NoSuchBucket, or what `authorize` throws. */
export async function readTarget(context: EngineContext, request: TargetName): Promise<Target> {
  const key = currentKey(request.bucket, request.key);
  const { bucket, read } = await readWithBucket(context, request, {
    read: () => readCurrent(context, key),
    bucketIds: (current) => (current === undefined ? [] : [current.row.bucketId]),
    object: (current) => (current === undefined ? undefined : existingObject(request.key, current.row)),
  });
  return { bucket, current: read, currentKey: key };
}

/** What of a version's row access can depend on. */
export function existingObject(key: string, row: VersionRow): ExistingObject {
  return {
    key,
    owner: row.owner,
    versionId: row.versionId,
    ...(row.acl === undefined ? {} : { acl: row.acl }),
  };
}

async function readCurrent(
  context: EngineContext,
  key: Uint8Array,
): Promise<ReadRow<VersionRow> | undefined> {
  const bytes = await context.state.get('objects', key);
  return bytes === undefined ? undefined : { key, bytes, row: decodeVersion(bytes) };
}

/** Holds as long as neither the bucket nor its current version has changed since they were read. */
export function unchanged(target: Target): Condition[] {
  return [bucketUnchanged(target.bucket), rowUnchanged('objects', target.currentKey, target.current)];
}

export function bucketUnchanged(bucket: ReadRow<unknown>): Condition {
  return { table: 'buckets', key: bucket.key, equals: bucket.bytes };
}

/** The row is as it was read, or still absent. */
export function rowUnchanged(table: string, key: Uint8Array, row: ReadRow<unknown> | undefined): Condition {
  return row === undefined ? { table, key, exists: false } : { table, key, equals: row.bytes };
}
