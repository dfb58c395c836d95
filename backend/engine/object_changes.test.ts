import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { alice, anyone, bodyOf, newBucket, put, refusal } from '../../tests/contract/requests.ts';
import { BackendError } from '../errors.ts';
import type { ChangeObserver, ObjectChange } from './object_changes.ts';
import { openFixture, type Fixture } from './testing/fixture.ts';

const origin = { requestId: 'R1', principalId: alice.id, sourceAddress: '127.0.0.1' };
let fixture: Fixture;
let seen: ObjectChange[];
let observe: ChangeObserver;
beforeEach(async () => {
  seen = [];
  observe = () => ({ operations: [] });
  fixture = await openFixture({
    observers: [
      () => (change) => {
        seen.push(change);
        return observe(change);
      },
    ],
  });
});
afterEach(() => fixture.close());

describe('observers of changes', () => {
  it('are told of every change with what it makes and by how much the bucket grows', async () => {
    const { engine } = fixture;
    const bucket = await newBucket(engine);
    const source = { bucket, key: 'a', authorize: anyone };
    await put(engine, { bucket, key: 'a' }, 'four', { origin });
    await put(engine, { bucket, key: 'a' }, 'seventy', { origin });
    await engine.copyObject({ bucket, key: 'b', owner: alice, source, authorize: anyone, origin });
    const metadata = { system: {}, user: {} };
    const { uploadId } = await engine.createMultipartUpload({ ...source, key: 'm', owner: alice, metadata });
    const upload = { bucket, key: 'm', uploadId, authorize: anyone };
    const { etag } = await engine.uploadPart({ ...upload, partNumber: 1, body: bodyOf('part') });
    await engine.completeMultipartUpload({ ...upload, parts: [{ partNumber: 1, etag }], origin });
    await engine.deleteObject({ ...source, origin });
    await engine.deleteObject({ ...source, origin });
    const summary = seen.map(({ event, key, made, growth }) => [event, key, made?.sizeBytes, growth]);
    expect(summary).toEqual([
      ['ObjectCreated:Put', 'a', 4, { bytes: 4, versions: 1 }],
      ['ObjectCreated:Put', 'a', 7, { bytes: 3, versions: 0 }],
      ['ObjectCreated:Copy', 'b', 7, { bytes: 7, versions: 1 }],
      ['ObjectCreated:CompleteMultipartUpload', 'm', 4, { bytes: 4, versions: 1 }],
      ['ObjectRemoved:Delete', 'a', undefined, { bytes: -7, versions: -1 }],
    ]);
    expect(seen.every((change) => change.origin === origin && change.bucket.name === bucket)).toBe(true);
  });

  it('add rows that are kept if and only if the change is', async () => {
    const { engine, state } = fixture;
    const bucket = await newBucket(engine);
    const key = Buffer.from('test:row');
    observe = () => ({ operations: [{ type: 'put', table: 'state', key, value: Buffer.from('1') }] });
    await put(engine, { bucket, key: 'a' }, 'x');
    expect(await state.inner.exists('state', key)).toBe(true);
    await state.inner.delete('state', key);
    const refused = put(engine, { bucket, key: 'a' }, 'y', { preconditions: { ifNoneMatch: ['*'] } });
    await refusal(refused, 'PreconditionFailed');
    expect(await state.inner.exists('state', key)).toBe(false);
  });

  it('may refuse a change, which then leaves nothing behind', async () => {
    const { engine, data } = fixture;
    const bucket = await newBucket(engine);
    observe = () => {
      throw new BackendError('AccessDenied', 'no');
    };
    await refusal(put(engine, { bucket, key: 'a' }, 'x'), 'AccessDenied');
    expect(data.live.size).toBe(0);
    await refusal(engine.headObject({ bucket, key: 'a', authorize: anyone }), 'NoSuchKey');
  });
});
