import { ConditionFailedError } from '../../s3db/errors.ts';
import type { UploadRequest } from '../backend.ts';
import { commit } from './commit.ts';
import type { EngineContext } from './context.ts';
import { checkKey } from './object_keys.ts';
import { orderedPrefix, STATE_KEYS, uploadIdOfKey } from './row_keys.ts';
import { decodeUpload, encodeCleanup, type BucketRow } from './rows.ts';
import { endUpload, readUpload, uploadUnchanged } from './uploads.ts';

const uploadsPerBatch = 500;
const maxBatches = 1000;

/** Abort and Complete both remove the upload's row and are conditional on it: only one of them happens. */
export async function abortMultipartUpload(context: EngineContext, request: UploadRequest): Promise<void> {
  checkKey(request.key);
  await commit(context, async () => {
    const target = await readUpload(context, request);
    return { conditions: uploadUnchanged(target), operations: endUpload(target), result: undefined };
  });
  context.wakeGarbage();
}

/** Aborts what is in flight in a bucket that is about to be deleted. */
export async function abortEveryUpload(context: EngineContext, bucket: BucketRow): Promise<void> {
  const prefix = orderedPrefix(bucket.name, '');
  for (let batches = 0; batches < maxBatches; batches++) {
    const page = await context.state.scan({ table: 'multipart', prefix, limit: uploadsPerBatch });
    const uploads = page.items.filter(
      ({ value }) => Buffer.compare(decodeUpload(value).bucketId, bucket.id) === 0,
    );
    if (uploads.length === 0) return;
    try {
      await context.state.batch({
        conditions: uploads.map(({ key, value }) => ({ table: 'multipart', key, equals: value })),
        operations: uploads.flatMap(({ key }) => [
          { type: 'delete', table: 'multipart', key },
          {
            type: 'put',
            table: 'state',
            key: STATE_KEYS.cleanup(uploadIdOfKey(key)),
            value: encodeCleanup({}),
          },
        ]),
      });
    } catch (error) {
      // One of them ended meanwhile: look again.
      if (!(error instanceof ConditionFailedError)) throw error;
    }
    context.wakeGarbage();
  }
}
