import type { Authorize, Bucket, ObjectLock, Retention } from '../backend.ts';
import { defaultRetentionAt, lockConfigurationOf } from '../object_lock.ts';
import type { EngineContext } from './context.ts';
import { refuse } from './context.ts';
import type { VersionRow } from './rows.ts';
import { existingObject } from './targets.ts';

/** @throws BackendError InvalidRequest where a lock is asked for in a bucket without object lock. */
export function checkLockAsked(
  context: Pick<EngineContext, 'lockClock'>,
  asked: ObjectLock | undefined,
  bucket: Bucket,
): void {
  if (asked === undefined) return;
  requireLockOf(bucket);
  if (asked.retention !== undefined) checkInFuture(context, asked.retention);
}

/** @throws BackendError InvalidRequest */
export function requireLockOf(bucket: Bucket): void {
  if (lockConfigurationOf(bucket) !== undefined) return;
  refuse('InvalidRequest', 'Bucket is missing Object Lock Configuration');
}

/** The lock that a new version gets: its own, and the bucket's default where it brings no retention. */
export function lockAt(
  bucket: Bucket,
  asked: ObjectLock | undefined,
  madeMs: number,
): ObjectLock | undefined {
  if (asked?.retention !== undefined) return asked;
  const retention = defaultRetentionAt(bucket, madeMs);
  return retention === undefined ? asked : { ...asked, retention };
}

/** Whether nobody, whatever they are permitted, may delete the version now. */
export function isLocked(context: Pick<EngineContext, 'lockClock'>, row: VersionRow): boolean {
  return row.lock?.legalHold === true || inForce(context, row.lock?.retention) !== undefined;
}

/** @throws BackendError AccessDenied while a legal hold or a retention keeps the version. */
export function checkRemovable(
  context: Pick<EngineContext, 'lockClock'>,
  version: { readonly key: string; readonly row: VersionRow; readonly bucket: Bucket },
  bypassGovernance: Authorize | undefined,
): void {
  const { key, row, bucket } = version;
  if (row.lock?.legalHold === true) refuseLocked();
  const retention = inForce(context, row.lock?.retention);
  if (retention === undefined) return;
  if (retention.mode === 'COMPLIANCE' || bypassGovernance === undefined) refuseLocked();
  bypassGovernance(bucket, existingObject(key, row));
}

/**
 * A retention in force may be made longer by anyone who may set one; all else needs the bypass, or under COMPLIANCE
 * can't be done at all.
 * @throws BackendError AccessDenied, InvalidArgument
 */
export function checkRetentionChange(
  context: Pick<EngineContext, 'lockClock'>,
  version: { readonly key: string; readonly row: VersionRow; readonly bucket: Bucket },
  change: { readonly to: Retention | undefined; readonly bypassGovernance: Authorize | undefined },
): void {
  const { to, bypassGovernance } = change;
  if (to !== undefined) checkInFuture(context, to);
  const from = inForce(context, version.row.lock?.retention);
  if (from === undefined) return;
  if (to?.mode === from.mode && to.untilMs >= from.untilMs) return;
  if (from.mode === 'COMPLIANCE' || bypassGovernance === undefined) refuseLocked();
  bypassGovernance(version.bucket, existingObject(version.key, version.row));
}

function inForce(
  context: Pick<EngineContext, 'lockClock'>,
  retention: Retention | undefined,
): Retention | undefined {
  return retention !== undefined && retention.untilMs > context.lockClock.nowMs() ? retention : undefined;
}

function checkInFuture(context: Pick<EngineContext, 'lockClock'>, retention: Retention): void {
  if (retention.untilMs > context.lockClock.nowMs()) return;
  refuse('InvalidArgument', 'The retain until date must be in the future!', {
    ArgumentName: 'RetainUntilDate',
    ArgumentValue: new Date(retention.untilMs).toISOString(),
  });
}

function refuseLocked(): never {
  return refuse('AccessDenied', 'Access Denied because object protected by object lock.');
}
