import type { Preconditions } from '../backend.ts';
import { refuse } from './context.ts';

/** What of an object the conditional headers look at. */
export interface ConditionedObject {
  readonly etag: string;
  readonly mtimeMs: number;
}

/**
 * GET and HEAD, in the precedence of RFC 9110 section 13.2.2, which is S3's: an ETag condition that is given decides,
 * and the time condition beside it is not looked at.
 * @throws BackendError PreconditionFailed, NotModified
 */
export function checkReadPreconditions(
  conditions: Preconditions | undefined,
  object: ConditionedObject,
): void {
  const failed = failedReadCondition(conditions, object);
  if (failed === undefined) return;
  if (failed === 'If-None-Match' || failed === 'If-Modified-Since') {
    refuse('NotModified', 'Not Modified', {
      etag: object.etag,
      lastModified: new Date(object.mtimeMs).toUTCString(),
    });
  }
  refusePrecondition(failed);
}

/** The source of a copy: what would be 304 is 412 there. @throws BackendError PreconditionFailed */
export function checkSourcePreconditions(
  conditions: Preconditions | undefined,
  object: ConditionedObject,
): void {
  const failed = failedReadCondition(conditions, object);
  if (failed !== undefined) refusePrecondition(`x-amz-copy-source-${failed.toLowerCase()}`);
}

/**
 * PUT, Copy and Complete: against the version that is to be replaced, undefined where there is none.
 * @throws BackendError PreconditionFailed; NoSuchKey for If-Match where there is nothing.
 */
export function checkWritePreconditions(
  conditions: Preconditions | undefined,
  current: ConditionedObject | undefined,
): void {
  if (conditions === undefined) return;
  const { ifMatch, ifNoneMatch } = conditions;
  if (ifMatch !== undefined) {
    if (current === undefined) refuse('NoSuchKey', 'The specified key does not exist.');
    if (!matches(ifMatch, current.etag)) refusePrecondition('If-Match');
  }
  if (ifNoneMatch !== undefined && current !== undefined && matches(ifNoneMatch, current.etag)) {
    refusePrecondition('If-None-Match');
  }
}

/** What DELETE may be conditional on. Deleting what isn't there succeeds whatever the conditions. */
export function checkDeletePreconditions(
  conditions: (Preconditions & { readonly sizeBytes?: number; readonly lastModifiedMs?: number }) | undefined,
  current: ConditionedObject & { readonly sizeBytes: number },
): void {
  if (conditions === undefined) return;
  if (conditions.ifMatch !== undefined && !matches(conditions.ifMatch, current.etag))
    refusePrecondition('If-Match');
  if (conditions.sizeBytes !== undefined && conditions.sizeBytes !== current.sizeBytes) {
    refusePrecondition('x-amz-if-match-size');
  }
  if (
    conditions.lastModifiedMs !== undefined &&
    wholeSeconds(conditions.lastModifiedMs) !== wholeSeconds(current.mtimeMs)
  ) {
    refusePrecondition('x-amz-if-match-last-modified-time');
  }
}

type ReadCondition = 'If-Match' | 'If-Unmodified-Since' | 'If-None-Match' | 'If-Modified-Since';

function failedReadCondition(
  conditions: Preconditions | undefined,
  object: ConditionedObject,
): ReadCondition | undefined {
  if (conditions === undefined) return undefined;
  const { ifMatch, ifNoneMatch, ifModifiedSinceMs, ifUnmodifiedSinceMs } = conditions;
  const modifiedMs = wholeSeconds(object.mtimeMs);
  if (ifMatch !== undefined) {
    if (!matches(ifMatch, object.etag)) return 'If-Match';
  } else if (ifUnmodifiedSinceMs !== undefined && modifiedMs > ifUnmodifiedSinceMs) {
    return 'If-Unmodified-Since';
  }
  if (ifNoneMatch !== undefined) {
    if (matches(ifNoneMatch, object.etag)) return 'If-None-Match';
  } else if (ifModifiedSinceMs !== undefined && modifiedMs <= ifModifiedSinceMs) {
    return 'If-Modified-Since';
  }
  return undefined;
}

function matches(etags: readonly string[], etag: string): boolean {
  return etags.some((wanted) => wanted === '*' || wanted === etag);
}

/** HTTP dates know no fractions. */
function wholeSeconds(ms: number): number {
  return Math.floor(ms / 1000) * 1000;
}

function refusePrecondition(condition: string): never {
  return refuse('PreconditionFailed', 'At least one of the pre-conditions you specified did not hold', {
    Condition: condition,
  });
}
