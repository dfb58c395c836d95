import { isGranted } from '../auth/policy.ts';
import type { Authorize, BucketInfo, Owner } from '../backend/backend.ts';
import { BackendError } from '../backend/errors.ts';
import { S3Error } from './errors.ts';
import type { Call, Caller } from './exchange.ts';

/** What anyone may do with a public bucket. */
const publicActions: ReadonlySet<string> = new Set(['s3:GetObject', 's3:ListBucket']);

/** Whether the caller may do this with a bucket that exists. */
function permits(caller: Caller, action: string, bucket: BucketInfo): boolean {
  if (bucket.public && publicActions.has(action)) return true;
  if (caller.kind === 'anonymous') return false;
  const { credential } = caller;
  return bucket.owner.id === credential.accountId && isGranted(credential.policy, action, bucket.name);
}

/** The callback with which the backend asks whether the call may go on, given the bucket it will act on. */
export function authorize(call: Call, action: string): Authorize {
  const expectedOwner = call.headers.get('x-amz-expected-bucket-owner');
  return (bucket) => {
    if (!permits(call.caller, action, bucket)) throw accessDenied();
    if (expectedOwner !== undefined && expectedOwner !== bucket.owner.id) throw accessDenied();
  };
}

/** The same for the source of a copy. */
export function authorizeSource(call: Call, action: string): Authorize {
  const expectedOwner = call.headers.get('x-amz-source-expected-bucket-owner');
  return (bucket) => {
    if (!permits(call.caller, action, bucket)) throw accessDenied();
    if (expectedOwner !== undefined && expectedOwner !== bucket.owner.id) throw accessDenied();
  };
}

/**
 * Runs a read of one object. Whether a key exists is told only to those who may list the bucket; others get
 * AccessDenied for a missing key as S3 answers them.
 */
export async function readingObject<T>(
  call: Call,
  action: string,
  read: (authorize: Authorize) => Promise<T>,
): Promise<T> {
  const seen = { mayList: true };
  const check = authorize(call, action);
  try {
    return await read((bucket) => {
      check(bucket);
      seen.mayList = permits(call.caller, 's3:ListBucket', bucket);
    });
  } catch (error) {
    if (
      !seen.mayList &&
      error instanceof BackendError &&
      (error.code === 'NoSuchKey' || error.code === 'NoSuchVersion')
    ) {
      throw accessDenied();
    }
    throw error;
  }
}

/** For what isn't about one bucket that exists: ListBuckets and CreateBucket. @throws S3Error AccessDenied */
export function requireGrant(call: Call, action: string, bucket: string): Owner {
  const owner = signedOwner(call);
  if (call.caller.kind !== 'signed' || !isGranted(call.caller.credential.policy, action, bucket)) {
    throw accessDenied();
  }
  return owner;
}

/** Who owns what the call makes. Anonymous callers make nothing. @throws S3Error AccessDenied */
export function signedOwner(call: Call): Owner {
  if (call.caller.kind === 'anonymous') throw accessDenied();
  return call.caller.owner;
}

function accessDenied(): S3Error {
  return new S3Error('AccessDenied');
}
