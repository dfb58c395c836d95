import type { DeleteObjectRequest, ObjectDeleted } from '../backend.ts';
import { commit, type Proposal } from './commit.ts';
import type { ObjectChange, ObjectEvent } from './object_changes.ts';
import type { EngineContext } from './context.ts';
import { markDeleted, shownVersionId, type VersionChange } from './current_version.ts';
import { checkKey } from './object_keys.ts';
import { checkRemovable } from './object_lock.ts';
import { checkDeletePreconditions } from './preconditions.ts';
import { removeOnly, removeVersion } from './remove_version.ts';
import { headOf, readTarget, readVersionTarget, type Target } from './targets.ts';
import { NULL_VERSION, versioningOf } from './versioning.ts';

const nothing = { conditions: [], operations: [] };

/**
 * Without a version id: removes the object, or in a versioned bucket puts a delete marker on top. With one: removes
 * that version for good. Deleting what isn't there succeeds.
 */
export async function deleteObject(
  context: EngineContext,
  request: DeleteObjectRequest,
): Promise<ObjectDeleted> {
  checkKey(request.key);
  const { versionId } = request;
  const deleted = await commit(context, () =>
    versionId === undefined ? hide(context, request) : remove(context, { ...request, versionId }),
  );
  context.wakeGarbage();
  return deleted;
}

async function hide(context: EngineContext, request: DeleteObjectRequest): Promise<Proposal<ObjectDeleted>> {
  const target = await readTarget(context, request);
  const bucket = target.bucket.row;
  if (versioningOf(bucket) === 'Never') {
    if (target.current === undefined) return { ...nothing, result: {} };
    checkDeletePreconditions(request.preconditions, target.current.row);
    const change = removeOnly(context, target, target.current.row);
    return { ...change, changes: [told(context, { request, target, change })], result: {} };
  }
  const head = headOf(target);
  if (head === undefined && request.preconditions !== undefined) return { ...nothing, result: {} };
  if (head !== undefined) checkDeletePreconditions(request.preconditions, head.row);
  const change = await markDeleted(context, target, bucket.owner);
  const shown = { versionId: NULL_VERSION, ...shownVersionId(change.row) };
  return {
    ...change,
    changes: [told(context, { request, target, change }, 'ObjectRemoved:DeleteMarkerCreated')],
    result: { ...shown, deleteMarker: true },
  };
}

async function remove(
  context: EngineContext,
  request: DeleteObjectRequest & { readonly versionId: string },
): Promise<Proposal<ObjectDeleted>> {
  const target = await readVersionTarget(context, request);
  const { version } = target;
  const answer = { versionId: request.versionId };
  if (version === undefined) return { ...nothing, result: answer };
  checkDeletePreconditions(request.preconditions, version.row);
  checkRemovable(
    context,
    { key: request.key, row: version.row, bucket: target.bucket.row },
    request.bypassGovernance,
  );
  const change = await removeVersion(context, target, version);
  const wasMarker = version.row.deleteMarker === true;
  return {
    ...change,
    changes: [told(context, { request, target, change })],
    result: wasMarker ? { ...answer, deleteMarker: true } : answer,
  };
}

function told(
  context: EngineContext,
  deletion: {
    readonly request: DeleteObjectRequest;
    readonly target: Target;
    readonly change: VersionChange;
  },
  event: ObjectEvent = 'ObjectRemoved:Delete',
): ObjectChange {
  const { request, target, change } = deletion;
  const newestMs = headOf(target)?.row.mtimeMs ?? 0;
  const versioned = versioningOf(target.bucket.row) !== 'Never';
  return {
    event,
    bucket: target.bucket.row,
    key: request.key,
    ...(versioned ? { versionId: change.row.versionId } : {}),
    atMs:
      event === 'ObjectRemoved:DeleteMarkerCreated'
        ? change.row.mtimeMs
        : Math.max(Math.floor(context.clock()), newestMs + 1),
    growth: change.growth,
    ...(request.origin === undefined ? {} : { origin: request.origin }),
  };
}
