import { describe, expect, it } from 'vitest';
import type { Backend, BucketSetting } from '../../backend/backend.ts';
import { BackendError } from '../../backend/errors.ts';
import { alice, anyone, newBucket, put, refusal, region } from './requests.ts';

export function settingCases(backend: () => Backend): void {
  describe('settings of buckets', () => {
    const settings = async (bucket: string): Promise<Record<string, string>> =>
      Object.fromEntries((await backend().headBucket({ bucket, authorize: anyone })).settings);
    const change = (
      bucket: string,
      changes: Partial<Record<BucketSetting, string | undefined>>,
    ): Promise<void> => backend().updateBucketSettings({ bucket, authorize: anyone, change: () => changes });

    it('are set, replaced and deleted, short or long, each by itself', async () => {
      const bucket = await newBucket(backend());
      const long = '\u00e9'.repeat(40_000);
      await change(bucket, { versioning: 'Suspended', policy: long, cors: 'c'.repeat(300) });
      expect(await settings(bucket)).toEqual({
        versioning: 'Suspended',
        policy: long,
        cors: 'c'.repeat(300),
      });
      await change(bucket, { policy: `${long}!`, cors: undefined });
      expect(await settings(bucket)).toEqual({ versioning: 'Suspended', policy: `${long}!` });
      await change(bucket, { policy: long });
      await change(bucket, { policy: 'short', versioning: undefined });
      expect(await settings(bucket)).toEqual({ policy: 'short' });
    });

    it('are what every authorization sees', async () => {
      const bucket = await newBucket(backend());
      await change(bucket, { acl: 'x'.repeat(1000) });
      const seen: (string | undefined)[] = [];
      await put(backend(), { bucket, key: 'k' }, 'x', {
        authorize: (info) => void seen.push(info.settings.get('acl')),
      });
      expect(new Set(seen)).toEqual(new Set(['x'.repeat(1000)]));
    });

    it('stay as they were where the change is refused', async () => {
      const bucket = await newBucket(backend());
      await change(bucket, { versioning: 'Enabled' });
      const refused = backend().updateBucketSettings({
        bucket,
        authorize: anyone,
        change: ({ settings: now }) => {
          throw new BackendError('InvalidBucketState', `is ${now.get('versioning') ?? 'unset'}`);
        },
      });
      await refusal(refused, 'InvalidBucketState');
      expect(await settings(bucket)).toEqual({ versioning: 'Enabled' });
    });

    it('come with the bucket and go with it', async () => {
      const bucket = `${await newBucket(backend())}-with`;
      const request = { bucket, owner: alice, region };
      await backend().createBucket({ ...request, settings: new Map([['policy', 'p'.repeat(500)]]) });
      expect(await settings(bucket)).toEqual({ policy: 'p'.repeat(500) });
      await backend().deleteBucket({ bucket, authorize: anyone });
      await backend().createBucket(request);
      expect(await settings(bucket)).toEqual({});
    });

    it('change one after the other when many change them at once', async () => {
      const bucket = await newBucket(backend());
      const add = (digit: string): Promise<void> =>
        backend().updateBucketSettings({
          bucket,
          authorize: anyone,
          change: ({ settings: now }) => ({ tagging: `${now.get('tagging') ?? ''}${digit}` }),
        });
      await Promise.all(['1', '2', '3', '4'].map(add));
      const { tagging } = await settings(bucket);
      expect(Array.from(tagging ?? '').sort()).toEqual(['1', '2', '3', '4']);
    });
  });
}
