import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { alice, anyone, bodyOf, newBucket, put, refusal } from '../../tests/contract/requests.ts';
import { openFixture, type Fixture } from './testing/fixture.ts';

let fixture: Fixture;
beforeEach(async () => {
  fixture = await openFixture({ storageClasses: ['REDUCED_REDUNDANCY'] });
});
afterEach(() => fixture.close());

describe('storage classes', () => {
  it('are kept with objects, copies and uploads, and shown', async () => {
    const { engine } = fixture;
    const bucket = await newBucket(engine);
    const storageClass = 'REDUCED_REDUNDANCY';
    await put(engine, { bucket, key: 'a' }, 'x', { storageClass });
    const head = await engine.headObject({ bucket, key: 'a', authorize: anyone });
    expect(head.storageClass).toBe(storageClass);
    const source = { bucket, key: 'a', authorize: anyone };
    await engine.copyObject({ bucket, key: 'b', owner: alice, source, authorize: anyone });
    await engine.copyObject({
      bucket,
      key: 'a',
      owner: alice,
      source,
      authorize: anyone,
      storageClass: 'STANDARD',
    });
    const metadata = { system: {}, user: {} };
    const { uploadId } = await engine.createMultipartUpload({
      bucket,
      key: 'm',
      owner: alice,
      metadata,
      storageClass,
      authorize: anyone,
    });
    const upload = { bucket, key: 'm', uploadId, authorize: anyone };
    const { etag } = await engine.uploadPart({ ...upload, partNumber: 1, body: bodyOf('part') });
    await engine.completeMultipartUpload({ ...upload, parts: [{ partNumber: 1, etag }] });
    const page = await engine.listObjects({ bucket, prefix: '', maxKeys: 10, authorize: anyone });
    expect(page.objects.map((object) => [object.key, object.storageClass])).toEqual([
      ['a', 'STANDARD'],
      ['b', 'STANDARD'],
      ['m', storageClass],
    ]);
  });

  it('that are not configured are refused before anything is stored', async () => {
    const { engine, data } = fixture;
    const bucket = await newBucket(engine);
    await refusal(put(engine, { bucket, key: 'a' }, 'x', { storageClass: 'GLACIER' }), 'InvalidStorageClass');
    expect(data.live.size).toBe(0);
  });
});
