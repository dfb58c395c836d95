import type { Authorize } from '../backend.ts';
import type { LifecycleAction } from '../lifecycle/due.ts';
import { commit, type Proposal } from './commit.ts';
import type { EngineContext } from './context.ts';
import { markDeleted, type VersionChange } from './current_version.ts';
import { isLocked } from './object_lock.ts';
import { removeOnly, removeVersion } from './remove_version.ts';
import type { VersionRow } from './rows.ts';
import { headOf, readVersionTarget, type ReadRow, type VersionTarget } from './targets.ts';
import { versioningOf } from './versioning.ts';

/** A version as it was evaluated, and what is to be done with it. */
export interface DueVersion {
  readonly bucket: string;
  readonly key: string;
  /** Its row in `versions`. */
  readonly version: ReadRow<VersionRow>;
  readonly newest: boolean;
  readonly action: LifecycleAction;
  /** Throws where the bucket isn't the one any more, or its rules aren't. */
  readonly authorize: Authorize;
}

/**
 * Does to exactly the version that was evaluated what is due. A version that was changed since, has gained or lost its
 * place as the newest, or is locked is left as it is.
 * @returns whether it was done.
 */
export async function carryOut(context: EngineContext, due: DueVersion): Promise<boolean> {
  const nothing: Proposal<boolean> = { conditions: [], operations: [], result: false };
  return commit(context, async () => {
    const { versionId } = due.version.row;
    const target = await readVersionTarget(context, { ...due, versionId });
    const { version } = target;
    if (version === undefined || Buffer.compare(version.bytes, due.version.bytes) !== 0) return nothing;
    const newest = headOf(target)?.row.mtimeMs === version.row.mtimeMs;
    if (newest !== due.newest) return nothing;
    const hides = due.action === 'hide' && versioningOf(target.bucket.row) !== 'Never';
    if (!hides && isLocked(context, version.row)) return nothing;
    const change = await changeOf(context, target, { due, version });
    const atMs = hides
      ? change.row.mtimeMs
      : Math.max(Math.floor(context.clock()), (headOf(target)?.row.mtimeMs ?? 0) + 1);
    return {
      ...change,
      changes: [
        {
          event: hides ? 'LifecycleExpiration:DeleteMarkerCreated' : 'LifecycleExpiration:Delete',
          bucket: target.bucket.row,
          key: due.key,
          ...(versioningOf(target.bucket.row) === 'Never' ? {} : { versionId: change.row.versionId }),
          atMs,
          growth: change.growth,
        },
      ],
      result: true,
    };
  });
}

async function changeOf(
  context: EngineContext,
  target: VersionTarget,
  evaluated: { readonly due: DueVersion; readonly version: ReadRow<VersionRow> },
): Promise<VersionChange> {
  const { due, version } = evaluated;
  if (due.action === 'remove') return removeVersion(context, target, version);
  const bucket = target.bucket.row;
  if (versioningOf(bucket) === 'Never') return removeOnly(context, target, version.row);
  return markDeleted(context, target, bucket.owner);
}
