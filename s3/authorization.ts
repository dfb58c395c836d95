import type { Authorize, Bucket, ExistingObject, Owner } from '../backend/backend.ts';
import { BackendError } from '../backend/errors.ts';
import { isGranted } from '../auth/policy.ts';
import { conditionValues } from './access/condition_keys.ts';
import { decide, type Decision } from './access/decide.ts';
import { headerTags } from './access/request_tags.ts';
import { S3Error } from './errors.ts';
import type { Call } from './exchange.ts';

const sourceOwnerHeader = 'x-amz-source-expected-bucket-owner';

/** What a question is about, where it isn't what the request itself is about. */
export interface AccessSubject {
  /** Empty: the bucket itself. */
  readonly key?: string;
  readonly versionId?: string | undefined;
  readonly prefix?: string;
  /** Tags that the request gives an object; default: those of `x-amz-tagging`. */
  readonly requestTags?: ReadonlyMap<string, string>;
}

function decisionOn(
  call: Call,
  action: string,
  where: {
    readonly bucket: Bucket;
    readonly object: ExistingObject | undefined;
    readonly subject: AccessSubject;
  },
): Decision {
  const { caller, services } = call;
  const { bucket, object, subject } = where;
  return decide(
    {
      credential: caller.kind === 'signed' ? caller.credential : undefined,
      action,
      bucket,
      key: subject.key ?? call.key,
      object,
      values: conditionValues(call, {
        bucket,
        object,
        versionId: 'versionId' in subject ? subject.versionId : call.query.get('versionId'),
        prefix: subject.prefix ?? call.query.get('prefix'),
        requestTags: () => subject.requestTags ?? headerTags(call.headers),
      }),
    },
    services.policies,
  );
}

/** The callback with which the backend asks whether the call may go on, given the bucket and the object it will act on. */
export function authorize(call: Call, action: string, subject: AccessSubject = {}): Authorize {
  return authorizing(call, { action, subject, ownerHeader: 'x-amz-expected-bucket-owner' });
}

/**
 * For requests of which each part is authorized by itself: refuses those of which no part can be allowed, so that
 * nobody's long list of keys is read for nothing.
 */
export function authorizeAnyPart(call: Call, action: string): Authorize {
  const { caller } = call;
  const check = authorize(call, action);
  return (bucket) => {
    call.access.bucket = bucket;
    const own = caller.kind === 'signed' && caller.credential.accountId === bucket.owner.id;
    if (!own && !bucket.settings.has('policy')) check(bucket);
    const expectedOwner = call.headers.get('x-amz-expected-bucket-owner');
    if (expectedOwner !== undefined && expectedOwner !== bucket.owner.id) throw accessDenied();
  };
}

/** The same as `authorize`, for the source of a copy. */
export function authorizeSource(call: Call, action: string, subject: AccessSubject): Authorize {
  return authorizing(call, { action, subject, ownerHeader: sourceOwnerHeader });
}

function authorizing(
  call: Call,
  asked: { readonly action: string; readonly subject: AccessSubject; readonly ownerHeader: string },
): Authorize {
  const { action, subject } = asked;
  const expectedOwner = call.headers.get(asked.ownerHeader);
  return (bucket, object) => {
    if (asked.ownerHeader === sourceOwnerHeader) {
      call.access.source = { bucket, key: subject.key ?? '', versionId: subject.versionId };
    } else {
      call.access.bucket = bucket;
    }
    const decision = decisionOn(call, action, { bucket, object, subject });
    if (decision === 'refused') throw accessDenied();
    if (decision === 'by ACL') call.access.aclRequired = true;
    if (expectedOwner !== undefined && expectedOwner !== bucket.owner.id) throw accessDenied();
  };
}

/**
 * Runs a read of one object. Whether a key exists is told only to those who may list the bucket; others get
 * AccessDenied for a missing key as S3 answers them, and those who may list it get NoSuchKey whatever they may read.
 */
export async function readingObject<T extends object>(
  call: Call,
  action: string,
  read: (authorize: Authorize) => Promise<T>,
): Promise<T> {
  const check = authorize(call, action);
  const mayTell = (bucket: Bucket): boolean =>
    decisionOn(call, 's3:ListBucket', {
      bucket,
      object: undefined,
      subject: { key: '', prefix: call.key },
    }) !== 'refused';
  let seen: Bucket | undefined;
  let denied: S3Error | undefined;
  try {
    const answer = await read((bucket, object) => {
      seen = bucket;
      denied = undefined;
      try {
        check(bucket, object);
      } catch (error) {
        if (object !== undefined || !isAccessDenied(error) || !mayTell(bucket)) throw error;
        // It isn't there, it seems, and this caller may know that: the backend will say it.
        denied = error;
      }
    });
    if (denied === undefined) return answer;
    await endBody(answer);
  } catch (error) {
    const missing =
      error instanceof BackendError && (error.code === 'NoSuchKey' || error.code === 'NoSuchVersion');
    if (missing && seen !== undefined && !mayTell(seen)) throw accessDenied();
    if (missing || denied === undefined) throw error;
  }
  throw denied;
}

/** Nobody will read it. */
async function endBody(answer: object): Promise<void> {
  if (!('body' in answer)) return;
  const body = answer.body as AsyncIterable<Uint8Array>;
  await body[Symbol.asyncIterator]().return?.();
}

/** For what isn't about one bucket that exists: ListBuckets and CreateBucket. @throws S3Error AccessDenied */
export function requireGrant(call: Call, action: string, bucket: string): Owner {
  const owner = signedOwner(call);
  if (call.caller.kind !== 'signed' || !isGranted(call.caller.credential.policy, action, bucket)) {
    throw accessDenied();
  }
  return owner;
}

/** Who began what only somebody in particular may begin. @throws S3Error AccessDenied */
export function signedOwner(call: Call): Owner {
  if (call.caller.kind === 'anonymous') throw accessDenied();
  return call.caller.owner;
}

function isAccessDenied(error: unknown): error is S3Error {
  return error instanceof S3Error && error.code === 'AccessDenied';
}

function accessDenied(): S3Error {
  return new S3Error('AccessDenied');
}
