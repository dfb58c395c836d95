import type {
  Bucket,
  BucketInfo,
  BucketPage,
  BucketRequest,
  BucketSetting,
  CreateBucketRequest,
  ListBucketsRequest,
  Owner,
} from '../backend.ts';
import { changeSettings } from './bucket_settings.ts';
import { checkBucketName } from './bucket_names.ts';
import { commit } from './commit.ts';
import type { EngineContext } from './context.ts';
import { refuse } from './context.ts';
import { mintId } from './ids.ts';
import { abortEveryUpload } from './abort_upload.ts';
import { bucketKey, currentKey, orderedPrefix } from './row_keys.ts';
import { decodeBucket, encodeBucket, type BucketRow } from './rows.ts';
import { findBucket, readBucket, rowUnchanged } from './targets.ts';

/** S3's first region, where making one's own bucket again is answered with success. */
const forgivingRegion = 'us-east-1';
const bucketsPerScan = 1000;

/** A bucket that the configuration names: made at start where it isn't there yet. */
export interface ConfiguredBucket {
  readonly name: string;
  readonly owner: Owner;
  readonly public: boolean;
}

export async function createBucket(
  context: EngineContext,
  request: CreateBucketRequest,
): Promise<BucketInfo> {
  checkBucketName(request.bucket);
  return commit(context, async () => {
    const existing = await findBucket(context, request.bucket);
    if (existing !== undefined) {
      return { conditions: [], operations: [], result: answerExisting(context, request, existing.row) };
    }
    const empty = newBucket(context, {
      name: request.bucket,
      owner: request.owner,
      region: request.region,
      public: false,
    });
    const { places, operations } = changeSettings(empty, request.settings ?? []);
    const row = { ...empty, settingPlaces: places };
    const key = bucketKey(request.bucket);
    return {
      conditions: [rowUnchanged('buckets', key, undefined)],
      operations: [...operations, { type: 'put', table: 'buckets', key, value: encodeBucket(row) }],
      result: infoOf(row),
    };
  });
}

function answerExisting(context: EngineContext, request: CreateBucketRequest, row: BucketRow): BucketInfo {
  const details = { BucketName: request.bucket };
  if (row.owner.id !== request.owner.id) {
    refuse(
      'BucketAlreadyExists',
      'The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please select a different name and try again.',
      details,
    );
  }
  if (context.region === forgivingRegion) return infoOf(row);
  return refuse(
    'BucketAlreadyOwnedByYou',
    'Your previous request to create the named bucket succeeded and you already own it.',
    details,
  );
}

/**
 * Makes a bucket of the configuration, or gives an existing one the configuration's `public`.
 * @throws BackendError BucketAlreadyExists where another account owns it.
 */
export async function ensureBucket(context: EngineContext, configured: ConfiguredBucket): Promise<void> {
  checkBucketName(configured.name);
  const key = bucketKey(configured.name);
  await commit(context, async () => {
    const existing = await findBucket(context, configured.name);
    if (existing !== undefined && existing.row.owner.id !== configured.owner.id) {
      refuse(
        'BucketAlreadyExists',
        `The bucket ${configured.name} of the configuration belongs to another account.`,
      );
    }
    const row =
      existing === undefined
        ? newBucket(context, { ...configured, region: context.region })
        : { ...existing.row, public: configured.public };
    const same = existing !== undefined && existing.row.public === configured.public;
    return {
      conditions: [rowUnchanged('buckets', key, existing)],
      operations: same ? [] : [{ type: 'put' as const, table: 'buckets', key, value: encodeBucket(row) }],
      result: undefined,
    };
  });
}

function newBucket(
  context: EngineContext,
  bucket: Pick<BucketRow, 'name' | 'owner' | 'region' | 'public'>,
): BucketRow {
  return {
    id: mintId(context),
    name: bucket.name,
    owner: bucket.owner,
    region: bucket.region,
    public: bucket.public,
    createdMs: Math.floor(context.clock()),
    settingPlaces: new Map(),
  };
}

export async function headBucket(context: EngineContext, request: BucketRequest): Promise<Bucket> {
  const { row } = await readBucket(context, request);
  return { ...infoOf(row), settings: row.settings };
}

/**
 * Deletes a bucket that has neither objects nor versions. Uploads in flight don't keep it: they are aborted.
 * @throws BackendError BucketNotEmpty, NoSuchBucket
 */
export async function deleteBucket(context: EngineContext, request: BucketRequest): Promise<void> {
  const objects = currentKey(request.bucket, '');
  const ordered = orderedPrefix(request.bucket, '');
  await commit(context, async () => {
    const bucket = await readBucket(context, request);
    const [anyObject, anyVersion] = await Promise.all([
      context.state.scan({ table: 'objects', prefix: objects, limit: 1 }),
      context.state.scan({ table: 'versions', prefix: ordered, limit: 1 }),
    ]);
    if (anyObject.items.length + anyVersion.items.length > 0) {
      refuse('BucketNotEmpty', 'The bucket you tried to delete is not empty', { BucketName: request.bucket });
    }
    await abortEveryUpload(context, bucket.row);
    return {
      conditions: [
        { table: 'buckets', key: bucket.key, equals: bucket.bytes },
        { table: 'objects', prefix: objects, empty: true },
        { table: 'versions', prefix: ordered, empty: true },
        { table: 'multipart', prefix: ordered, empty: true },
      ],
      operations: [
        ...changeSettings(bucket.row, everySettingGone(bucket.row)).operations,
        { type: 'delete', table: 'buckets', key: bucket.key },
      ],
      result: undefined,
    };
  });
}

function everySettingGone(bucket: BucketRow): [BucketSetting, undefined][] {
  return [...bucket.settingPlaces.keys()].map((name) => [name, undefined]);
}

/** An account's buckets in order of their names. */
export async function listBuckets(context: EngineContext, request: ListBucketsRequest): Promise<BucketPage> {
  if (request.maxBuckets < 1) return { buckets: [] };
  const prefix = bucketKey(request.prefix ?? '');
  const buckets: BucketInfo[] = [];
  let startAfter = request.startAfter === undefined ? undefined : bucketKey(request.startAfter);
  for (;;) {
    const page = await context.state.scan({
      table: 'buckets',
      prefix,
      limit: bucketsPerScan,
      ...(startAfter === undefined ? {} : { startAfter }),
    });
    for (const { value } of page.items) {
      const row = decodeBucket(value);
      if (row.owner.id !== request.owner.id) continue;
      const last = buckets.at(-1);
      if (last !== undefined && buckets.length >= request.maxBuckets) return { buckets, next: last.name };
      buckets.push(infoOf(row));
    }
    if (page.next === undefined) return { buckets };
    startAfter = page.next;
  }
}

function infoOf(row: BucketRow): BucketInfo {
  return {
    name: row.name,
    owner: row.owner,
    createdMs: row.createdMs,
    region: row.region,
    public: row.public,
  };
}
