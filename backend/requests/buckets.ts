/** Who owns a bucket, an object, an upload. */
export interface Owner {
  readonly id: string;
  readonly displayName: string;
}

export interface BucketInfo {
  readonly name: string;
  readonly owner: Owner;
  readonly createdMs: number;
  readonly region: string;
  /** Anyone may read and list it (`[[buckets]] public = true`). */
  readonly public: boolean;
}

/**
 * What an owner sets on a bucket, each a text that the one who wrote it understands: `s3/` checks documents before it
 * hands them over, the engine reads those that change what it does (`versioning`, `object-lock`).
 */
export type BucketSetting =
  | 'acl'
  | 'cors'
  | 'encryption'
  | 'lifecycle'
  | 'logging'
  | 'notification'
  | 'object-lock'
  | 'ownership'
  | 'policy'
  | 'public-access-block'
  | 'quota'
  | 'request-payment'
  | 'tagging'
  | 'versioning'
  | 'website';

/** A bucket with all that was set on it: what was never set, or deleted since, is absent. */
export interface Bucket extends BucketInfo {
  readonly settings: ReadonlyMap<BucketSetting, string>;
}

/** The object that a request would read or replace, as far as access to it can depend on it. */
export interface ExistingObject {
  readonly key: string;
  readonly owner: Owner;
  readonly versionId: string;
  /** As it was set; absent: the owner has full control and nobody else anything. */
  readonly acl?: string;
  readonly tags?: Tags;
}

/** At most ten, in order of their keys' UTF-8 bytes. */
export type Tags = ReadonlyMap<string, string>;

/** Until when a version may not be deleted: by nobody, or by nobody without a permission of its own. */
export interface Retention {
  readonly mode: 'GOVERNANCE' | 'COMPLIANCE';
  readonly untilMs: number;
}

/** What keeps a version from being deleted. */
export interface ObjectLock {
  readonly retention?: Retention;
  /** Absent: never set. */
  readonly legalHold?: boolean;
}

/**
 * Decides whether the request may go on, given the very bucket row that it will act on and, where the request is about
 * one object and it exists, that object; throws `BackendError` (AccessDenied) if not. Called before anything is
 * revealed or changed, and again after every re-read.
 */
export type Authorize = (bucket: Bucket, object?: ExistingObject) => void;

export interface UpdateBucketSettingsRequest extends BucketRequest {
  /**
   * What to set (a text) or to delete (undefined), given the bucket as it is; throws to refuse. Asked again where
   * another writer was faster.
   */
  readonly change: (bucket: Bucket) => Partial<Record<BucketSetting, string | undefined>>;
}

/** Whose an object is to be, and its ACL where that isn't the default. The text is for `s3/` to understand. */
export interface ObjectOwnership {
  readonly owner: Owner;
  readonly acl?: string;
}

/** Decides it under the very bucket row with which the object is committed; throws to refuse. */
export type DecideOwnership = (bucket: Bucket) => ObjectOwnership;

/** Where a request came from, as events tell it. */
export interface RequestOrigin {
  readonly requestId: string;
  /** The caller's account; `Anonymous` without one. */
  readonly principalId: string;
  readonly sourceAddress: string;
}

export interface BucketRequest {
  readonly bucket: string;
  readonly authorize: Authorize;
  readonly origin?: RequestOrigin;
  readonly signal?: AbortSignal;
}

export interface ListBucketsRequest {
  readonly owner: Owner;
  readonly prefix?: string;
  readonly startAfter?: string;
  readonly maxBuckets: number;
}

export interface BucketPage {
  readonly buckets: readonly BucketInfo[];
  readonly next?: string;
}

export interface CreateBucketRequest {
  readonly bucket: string;
  readonly owner: Owner;
  readonly region: string;
  readonly settings?: ReadonlyMap<BucketSetting, string>;
}
