import type { Bucket, ObjectLock, ObjectUpdated, UpdateObjectRequest } from '../backend.ts';
import type { EngineContext } from './context.ts';
import { checkRetentionChange, requireLockOf } from './object_lock.ts';
import type { VersionRow } from './rows.ts';
import { updateVersion } from './update_version.ts';

/**
 * Sets tags, retention and legal hold of a version.
 * @throws BackendError NoSuchKey, NoSuchVersion, MethodNotAllowed, NoSuchBucket, InvalidRequest where the bucket has no
 * object lock, AccessDenied where a retention would be weakened, or what `authorize` throws.
 */
export async function updateObject(
  context: EngineContext,
  request: UpdateObjectRequest,
): Promise<ObjectUpdated> {
  return updateVersion(context, {
    ...request,
    change: (bucket, row) => {
      const lock = lockAfter(context, request, { bucket, row });
      const tags = request.tags ?? row.tags;
      const { lock: _lock, tags: _tags, ...rest } = row;
      return {
        ...rest,
        ...(tags === undefined || tags.size === 0 ? {} : { tags }),
        ...(lock === undefined ? {} : { lock }),
      };
    },
  });
}

function lockAfter(
  context: EngineContext,
  request: UpdateObjectRequest,
  version: { readonly bucket: Bucket; readonly row: VersionRow },
): ObjectLock | undefined {
  const { retention, legalHold, bypassGovernance, key } = request;
  const before = version.row.lock;
  if (retention === undefined && legalHold === undefined) return before;
  requireLockOf(version.bucket);
  const lock = legalHold === undefined ? { ...before } : { ...before, legalHold };
  if (retention === undefined) return lock;
  const to = retention === 'none' ? undefined : retention;
  checkRetentionChange(context, { key, ...version }, { to, bypassGovernance });
  const { retention: _, ...rest } = lock;
  return to === undefined ? rest : { ...rest, retention: to };
}
