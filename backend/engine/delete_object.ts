import type { DeleteObjectRequest, ObjectDeleted } from '../backend.ts';
import { commit } from './commit.ts';
import type { EngineContext } from './context.ts';
import { NULL_VERSION, removeCurrent } from './current_version.ts';
import { checkKey } from './object_keys.ts';
import { checkDeletePreconditions } from './preconditions.ts';
import { readBucket, readTarget, unchanged } from './targets.ts';

/** Deleting what isn't there succeeds. */
export async function deleteObject(
  context: EngineContext,
  request: DeleteObjectRequest,
): Promise<ObjectDeleted> {
  checkKey(request.key);
  const { versionId } = request;
  if (versionId !== undefined && versionId !== NULL_VERSION) {
    await readBucket(context, request);
    return { versionId };
  }
  const result = versionId === undefined ? {} : { versionId };
  await commit(context, async () => {
    const target = await readTarget(context, request);
    if (target.current === undefined) return { conditions: [], operations: [], result: undefined };
    checkDeletePreconditions(request.preconditions, target.current.row);
    const { sizeBytes, mtimeMs } = target.current.row;
    return {
      conditions: unchanged(target),
      operations: removeCurrent(context, target, request.key),
      changes: [
        {
          event: 'ObjectRemoved:Delete',
          bucket: target.bucket.row,
          key: request.key,
          atMs: Math.max(Math.floor(context.clock()), mtimeMs + 1),
          growth: { bytes: -sizeBytes, versions: -1 },
          ...(request.origin === undefined ? {} : { origin: request.origin }),
        },
      ],
      result: undefined,
    };
  });
  context.wakeGarbage();
  return result;
}
