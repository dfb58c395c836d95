import type { BucketSetting, UpdateBucketSettingsRequest } from '../backend.ts';
import { changeSettings } from './bucket_settings.ts';
import { commit } from './commit.ts';
import type { EngineContext } from './context.ts';
import { encodeBucket } from './rows.ts';
import { bucketUnchanged, readBucket } from './targets.ts';

/**
 * Sets and deletes settings of a bucket, all or nothing. Whoever commits under the bucket's row as it was before reads
 * it again: no write is acknowledged after this that didn't know of it.
 * @throws BackendError NoSuchBucket, or what `authorize` and `change` throw.
 */
export async function updateBucketSettings(
  context: EngineContext,
  request: UpdateBucketSettingsRequest,
): Promise<void> {
  await commit(context, async () => {
    const bucket = await readBucket(context, request);
    const changes = Object.entries(request.change(bucket.row)) as [BucketSetting, string | undefined][];
    const { places, operations } = changeSettings(bucket.row, changes);
    const value = encodeBucket({ ...bucket.row, settingPlaces: places });
    return {
      conditions: [bucketUnchanged(bucket)],
      operations: [...operations, { type: 'put', table: 'buckets', key: bucket.key, value }],
      result: undefined,
    };
  });
}
