import type { Authorize, ObjectLock, Tags } from '../../backend/backend.ts';
import { authorize } from '../authorization.ts';
import type { Call } from '../exchange.ts';
import { lockHeaders } from './object_lock.ts';
import { given } from './parameters.ts';
import { taggingHeader } from './tags.ts';

/** What a write asks to mark the new version with, and the check that its caller may. */
interface MarksRequest {
  readonly tags?: Tags;
  readonly lock?: ObjectLock;
  readonly authorize: Authorize;
}

/**
 * Tags and lock from the headers of a write. Each needs a permission of its own beside the one to write.
 * @throws S3Error InvalidArgument, InvalidTag
 */
export function objectMarks(
  call: Call,
  options: { readonly action: string; readonly ignoreTags?: boolean },
): MarksRequest {
  const tags = options.ignoreTags === true ? undefined : taggingHeader(call.headers);
  const lock = lockHeaders(call.headers);
  const actions = [
    options.action,
    ...(tags === undefined || tags.size === 0 ? [] : ['s3:PutObjectTagging']),
    ...(lock?.retention === undefined ? [] : ['s3:PutObjectRetention']),
    ...(lock?.legalHold === undefined ? [] : ['s3:PutObjectLegalHold']),
  ];
  const checks = actions.map((action) => authorize(call, action));
  return {
    ...given('tags', tags),
    ...given('lock', lock),
    authorize: (bucket, object) => {
      for (const check of checks) check(bucket, object);
    },
  };
}
