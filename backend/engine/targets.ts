import type { Authorize, ExistingObject } from '../backend.ts';
import type { Condition } from '../../s3db/database.ts';
import type { EngineContext } from './context.ts';
import { refuse } from './context.ts';
import { timeOfVersionId } from './ids.ts';
import { bucketKey, currentKey, markerKey, versionKey } from './row_keys.ts';
import { decodeBucket, decodeVersion, type VersionRow } from './rows.ts';
import { loadSettings, type LoadedBucket } from './bucket_settings.ts';
import { NULL_VERSION, versioningOf } from './versioning.ts';

const maxReads = 4;

/** A row as it was read: decoded, and its very bytes for the condition of a batch. */
export interface ReadRow<Row> {
  readonly key: Uint8Array;
  readonly bytes: Uint8Array;
  readonly row: Row;
}

/**
 * What every mutation of an object reads, and is conditional on. At most one of `current` and `marker` is there: the
 * key's head, which every change of its newest version rewrites.
 */
export interface Target extends Head {
  readonly bucket: ReadRow<LoadedBucket>;
  readonly key: string;
  readonly currentKey: Uint8Array;
  readonly markerKey: Uint8Array;
}

interface Head {
  /** The newest version, where it is an object. */
  readonly current?: ReadRow<VersionRow>;
  /** The newest version, where it is a delete marker. */
  readonly marker?: ReadRow<VersionRow>;
}

/** A target, and the version that the request names by its id: its row in `versions`. */
export interface VersionTarget extends Target {
  readonly version: ReadRow<VersionRow> | undefined;
}

/** The key's newest version, whatever it is. */
export function headOf(target: Head): ReadRow<VersionRow> | undefined {
  return target.current ?? target.marker;
}

export interface TargetName {
  readonly bucket: string;
  readonly key: string;
  readonly authorize: Authorize;
}

export interface VersionName extends TargetName {
  readonly versionId: string;
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
 * `bucketIds` tells those of what was read, and a mismatch has both read again. `read` may wait for the bucket where
 * what it has to read depends on it.
 */
export async function readWithBucket<Read>(
  context: EngineContext,
  request: { readonly bucket: string; readonly authorize: Authorize },
  inside: {
    readonly read: (bucket: Promise<LoadedBucket | undefined>) => Promise<Read>;
    readonly bucketIds: (read: Read) => Iterable<Uint8Array>;
    /** The object that the request is about, for `authorize`. */
    readonly object?: (read: Read) => ExistingObject | undefined;
  },
): Promise<{ bucket: ReadRow<LoadedBucket>; read: Read }> {
  for (let reads = 0; reads < maxReads; reads++) {
    const finding = findBucket(context, request.bucket);
    const row = finding.then((bucket) => bucket?.row);
    // Not every read waits for it, and a rejection is met with that of `finding`, right below.
    row.catch(ignore);
    const [found, read] = await Promise.all([finding, inside.read(row)]);
    const ownRows = [...inside.bucketIds(read)].every(
      (id) => found === undefined || Buffer.compare(id, found.row.id) === 0,
    );
    if (ownRows) return { bucket: authorized(found, request, inside.object?.(read)), read };
  }
  return refuse('SlowDown', 'The bucket keeps changing. Please try again.');
}

/** @throws BackendError NoSuchBucket, or what `authorize` throws. */
export async function readTarget(context: EngineContext, request: TargetName): Promise<Target> {
  const { bucket, read } = await readWithBucket(context, request, {
    read: (inBucket) => readHead(context, request, inBucket),
    bucketIds: (head) => bucketIdsOf([headOf(head)]),
    object: ({ current }) => existingObject(request.key, current?.row),
  });
  return { bucket, ...namesOf(request), ...read };
}

/**
 * The same for a request that names a version.
 * @throws BackendError NoSuchBucket, or what `authorize` throws; a version that isn't there is undefined.
 */
export async function readVersionTarget(
  context: EngineContext,
  request: VersionName,
): Promise<VersionTarget> {
  const { bucket, read } = await readWithBucket(context, request, {
    read: async (inBucket) => {
      const [head, named] = await Promise.all([
        readHead(context, request, inBucket),
        request.versionId === NULL_VERSION ? undefined : readNamed(context, request),
      ]);
      const version = request.versionId === NULL_VERSION ? await readNull(context, request, head) : named;
      return { head, version };
    },
    bucketIds: ({ head, version }) => bucketIdsOf([headOf(head), version]),
    object: ({ version }) => existingObject(request.key, version?.row),
  });
  return { bucket, ...namesOf(request), ...read.head, version: read.version };
}

/** The version that the request names, for reading it: nothing else of the key is looked at. */
export async function readVersion(
  context: EngineContext,
  request: VersionName,
): Promise<{ readonly bucket: ReadRow<LoadedBucket>; readonly version: ReadRow<VersionRow> | undefined }> {
  if (request.versionId === NULL_VERSION) return readVersionTarget(context, request);
  const { bucket, read } = await readWithBucket(context, request, {
    read: () => readNamed(context, request),
    bucketIds: (version) => bucketIdsOf([version]),
    object: (version) => existingObject(request.key, version?.row),
  });
  return { bucket, version: read };
}

/**
 * The row in `versions` of the key's `null` version, found by what the head says of it. Undefined also where it went
 * after the head was read: a batch that is conditional on the head then fails.
 */
export async function readNull(
  context: EngineContext,
  request: { readonly bucket: string; readonly key: string },
  head: Head,
): Promise<ReadRow<VersionRow> | undefined> {
  const newest = headOf(head)?.row;
  if (newest === undefined) return undefined;
  const mtimeMs = newest.versionId === NULL_VERSION ? newest.mtimeMs : newest.nullMtimeMs;
  if (mtimeMs === undefined) return undefined;
  const version = await readRow(context, {
    table: 'versions',
    key: versionKey(request.bucket, { ...request, mtimeMs }),
  });
  return version?.row.versionId === NULL_VERSION ? version : undefined;
}

async function readNamed(
  context: EngineContext,
  request: VersionName,
): Promise<ReadRow<VersionRow> | undefined> {
  const mtimeMs = timeOfVersionId(request.versionId);
  if (mtimeMs === undefined) return undefined;
  const key = versionKey(request.bucket, { key: request.key, mtimeMs });
  const version = await readRow(context, { table: 'versions', key });
  return version?.row.versionId === request.versionId ? version : undefined;
}

/**
 * The current version, or else the delete marker in its place. A bucket that was never versioned has no markers, and
 * its missing keys cost no second read.
 */
async function readHead(
  context: EngineContext,
  request: { readonly bucket: string; readonly key: string },
  inBucket: Promise<LoadedBucket | undefined>,
): Promise<Head> {
  const names = namesOf(request);
  const current = await readRow(context, { table: 'objects', key: names.currentKey });
  if (current !== undefined) return { current };
  const bucket = await inBucket;
  if (bucket === undefined || versioningOf(bucket) === 'Never') return {};
  const marker = await readRow(context, { table: 'versions', key: names.markerKey });
  return marker === undefined ? {} : { marker };
}

function namesOf(request: {
  readonly bucket: string;
  readonly key: string;
}): Pick<Target, 'key' | 'currentKey' | 'markerKey'> {
  const { bucket, key } = request;
  return { key, currentKey: currentKey(bucket, key), markerKey: markerKey(bucket, key) };
}

function bucketIdsOf(rows: readonly (ReadRow<VersionRow> | undefined)[]): Uint8Array[] {
  return rows.flatMap((read) => (read === undefined ? [] : [read.row.bucketId]));
}

/** What of a version's row access can depend on. */
export function existingObject(key: string, row: VersionRow): ExistingObject;
export function existingObject(key: string, row: VersionRow | undefined): ExistingObject | undefined;
export function existingObject(key: string, row: VersionRow | undefined): ExistingObject | undefined {
  if (row === undefined) return undefined;
  const { owner, versionId, acl, tags } = row;
  return {
    key,
    owner,
    versionId,
    ...(acl === undefined ? {} : { acl }),
    ...(tags === undefined ? {} : { tags }),
  };
}

async function readRow(
  context: EngineContext,
  place: { readonly table: 'objects' | 'versions'; readonly key: Uint8Array },
): Promise<ReadRow<VersionRow> | undefined> {
  const { key } = place;
  const bytes = await context.state.get(place.table, key);
  return bytes === undefined ? undefined : { key, bytes, row: decodeVersion(bytes) };
}

/** Holds as long as neither the bucket nor the key's newest version has changed since they were read. */
export function unchanged(target: Target): Condition[] {
  const { bucket } = target;
  return [
    bucketUnchanged(bucket),
    rowUnchanged('objects', target.currentKey, target.current),
    ...(versioningOf(bucket.row) === 'Never'
      ? []
      : [rowUnchanged('versions', target.markerKey, target.marker)]),
  ];
}

export function bucketUnchanged(bucket: ReadRow<unknown>): Condition {
  return { table: 'buckets', key: bucket.key, equals: bucket.bytes };
}

/** The row is as it was read, or still absent. */
export function rowUnchanged(table: string, key: Uint8Array, row: ReadRow<unknown> | undefined): Condition {
  return row === undefined ? { table, key, exists: false } : { table, key, equals: row.bytes };
}

function ignore(): void {
  // Who else waits for the same promise hears of it.
}
