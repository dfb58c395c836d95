/**
 * S3's semantics without HTTP: what a bucket and an object are, and what may be done with them. Both backends are the
 * same engine (`engine/`) over two ports, `GlobalState` and `DataStore`. Refusals are `BackendError`s.
 *
 * Keys are strings whose UTF-8 form is at most 1,024 bytes and are otherwise opaque. Times are milliseconds since 1970.
 * Bodies are streams both ways; none is ever held whole.
 */
export interface Backend {
  readonly type: 'filesystem' | 'distributed';

  listBuckets(request: ListBucketsRequest): Promise<BucketPage>;
  createBucket(request: CreateBucketRequest): Promise<BucketInfo>;
  headBucket(request: BucketRequest): Promise<Bucket>;
  updateBucketSettings(request: UpdateBucketSettingsRequest): Promise<void>;
  deleteBucket(request: BucketRequest): Promise<void>;

  putObject(request: PutObjectRequest): Promise<ObjectWritten>;
  getObject(request: GetObjectRequest): Promise<ObjectRead>;
  headObject(request: HeadObjectRequest): Promise<ObjectHead>;
  deleteObject(request: DeleteObjectRequest): Promise<ObjectDeleted>;
  copyObject(request: CopyObjectRequest): Promise<ObjectCopied>;
  updateObjectAcl(request: UpdateObjectAclRequest): Promise<ObjectAclUpdated>;
  updateObject(request: UpdateObjectRequest): Promise<ObjectUpdated>;

  listObjects(request: ListObjectsRequest): Promise<ObjectPage>;
  listObjectVersions(request: ListVersionsRequest): Promise<VersionPage>;

  createMultipartUpload(request: CreateUploadRequest): Promise<UploadCreated>;
  uploadPart(request: UploadPartRequest): Promise<PartWritten>;
  uploadPartCopy(request: UploadPartCopyRequest): Promise<PartWritten>;
  listParts(request: ListPartsRequest): Promise<PartPage>;
  completeMultipartUpload(request: CompleteUploadRequest): Promise<ObjectWritten>;
  abortMultipartUpload(request: UploadRequest): Promise<void>;
  listMultipartUploads(request: ListUploadsRequest): Promise<UploadPage>;

  close(): Promise<void>;
}

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

/** Headers that are stored and given back as they came. */
export interface SystemMetadata {
  readonly contentType?: string;
  readonly cacheControl?: string;
  readonly contentDisposition?: string;
  readonly contentEncoding?: string;
  readonly contentLanguage?: string;
  readonly expires?: string;
  readonly websiteRedirectLocation?: string;
}

export interface ObjectMetadata {
  readonly system: SystemMetadata;
  /** Names without `x-amz-meta-`, in lower case. */
  readonly user: Readonly<Record<string, string>>;
}

export type ChecksumAlgorithm = 'CRC32' | 'CRC32C' | 'CRC64NVME' | 'SHA1' | 'SHA256';
export type ChecksumType = 'FULL_OBJECT' | 'COMPOSITE';

export interface Checksum {
  readonly algorithm: ChecksumAlgorithm;
  readonly type: ChecksumType;
  /** Base64, for composites with `-N`. */
  readonly value: string;
}

/** Content on its way in, and what it must turn out to be. */
export interface IncomingBody {
  readonly stream: AsyncIterable<Uint8Array>;
  /** The payload's length, where the client told it: more or fewer bytes are IncompleteBody. */
  readonly sizeBytes?: number;
  /** 16 bytes; BadDigest if the content's MD5 differs. */
  readonly contentMd5?: Uint8Array;
  /** `value` is asked after the stream has ended (trailers come last); undefined: compute it, compare with nothing. */
  readonly checksum?: { readonly algorithm: ChecksumAlgorithm; readonly value: () => string | undefined };
}

/** How a client asks for an object to be encrypted. */
export type EncryptionRequest =
  | { readonly type: 'AES256' }
  | {
      readonly type: 'aws:kms';
      /** Absent: the keyring's default for this. */
      readonly keyId?: string;
      /** The encryption context: the key serves the object only with it. */
      readonly context?: Readonly<Record<string, string>>;
      readonly bucketKey?: boolean;
    }
  | {
      readonly type: 'customer';
      /** 32 bytes, which are never kept. */
      readonly key: Uint8Array;
    };

/** How an object is encrypted as far as its owner asked for it: encryption at rest isn't told. */
export type ObjectEncryption =
  | { readonly type: 'AES256' }
  | { readonly type: 'aws:kms'; readonly keyId: string; readonly bucketKey: boolean }
  | { readonly type: 'customer' };

/** Conditional headers, as parsed. ETags are without quotes; `*` stands for any. Times are whole seconds in ms. */
export interface Preconditions {
  readonly ifMatch?: readonly string[];
  readonly ifNoneMatch?: readonly string[];
  readonly ifModifiedSinceMs?: number;
  readonly ifUnmodifiedSinceMs?: number;
}

export interface PutObjectRequest extends BucketRequest {
  readonly key: string;
  /** Who writes the object. It is theirs unless `ownership` decides otherwise. */
  readonly owner: Owner;
  readonly ownership?: DecideOwnership;
  readonly metadata: ObjectMetadata;
  readonly body: IncomingBody;
  readonly preconditions?: Preconditions;
  /** Default: STANDARD. */
  readonly storageClass?: string;
  /** Absent: as the bucket says. */
  readonly encryption?: EncryptionRequest;
  readonly tags?: Tags;
  readonly lock?: ObjectLock;
}

export interface ObjectWritten {
  readonly etag: string;
  readonly lastModifiedMs: number;
  readonly checksum?: Checksum;
  readonly encryption?: ObjectEncryption;
  /** Present where versioning is enabled. */
  readonly versionId?: string;
  readonly sizeBytes: number;
  readonly expiration?: ObjectExpiration;
}

/** When a lifecycle rule will delete the object, in milliseconds since 1970, and which. */
export interface ObjectExpiration {
  readonly atMs: number;
  readonly ruleId: string;
}

export interface ObjectCopied extends ObjectWritten {
  /** Of the source, where its bucket is or was versioned. */
  readonly sourceVersionId?: string;
}

export interface HeadObjectRequest extends BucketRequest {
  readonly key: string;
  readonly versionId?: string;
  readonly preconditions?: Preconditions;
  readonly range?: RangeRequest;
  readonly partNumber?: number;
  /** Which of the object's parts to tell: those after a number, at most so many. */
  readonly parts?: { readonly after: number; readonly max: number };
  /** The client's key (SSE-C): must be the object's own, and absent where it has none. */
  readonly customerKey?: Uint8Array;
}

/** A part of a finished object. */
export interface ObjectPart {
  readonly partNumber: number;
  readonly sizeBytes: number;
  readonly checksum?: Checksum;
}

/** As in the Range header: `start` alone reads to the end, `suffix` reads the last bytes. */
export type RangeRequest = { readonly start: number; readonly end?: number } | { readonly suffix: number };

export type GetObjectRequest = HeadObjectRequest;

export interface ObjectHead {
  readonly key: string;
  readonly sizeBytes: number;
  readonly etag: string;
  readonly lastModifiedMs: number;
  readonly metadata: ObjectMetadata;
  readonly checksum?: Checksum;
  readonly encryption?: ObjectEncryption;
  /** Present where the bucket is or was versioned. */
  readonly versionId?: string;
  readonly tags?: Tags;
  readonly lock?: ObjectLock;
  /** Of the current version, where a request names none. */
  readonly expiration?: ObjectExpiration;
  /** Of a multipart object. */
  readonly partsCount?: number;
  /** Those that `parts` of the request asked for, of a multipart object. */
  readonly parts?: readonly ObjectPart[];
  readonly storageClass: string;
  /** The range that is (or would be) answered, when one was asked for: 206. */
  readonly range?: { readonly start: number; readonly end: number };
}

export interface ObjectRead extends ObjectHead {
  /** Read it to its end or return from it; ends early only by throwing. */
  readonly body: AsyncIterable<Uint8Array>;
}

export interface DeleteObjectRequest extends BucketRequest {
  readonly key: string;
  readonly versionId?: string;
  /** `If-Match` (also `x-amz-if-match-last-modified-time` and `-size` as S3 defines them). */
  readonly preconditions?: Preconditions & { readonly sizeBytes?: number; readonly lastModifiedMs?: number };
  /** Given by a caller who wants to pass over GOVERNANCE retention: throws if that caller may not. */
  readonly bypassGovernance?: Authorize;
}

export interface ObjectDeleted {
  /** Of the version that was deleted, or of the delete marker that was made. */
  readonly versionId?: string;
  /** A delete marker was made, or was what has been deleted. */
  readonly deleteMarker?: boolean;
}

export interface ObjectSource {
  readonly bucket: string;
  readonly key: string;
  readonly versionId?: string;
  readonly authorize: Authorize;
  readonly preconditions?: Preconditions;
  /** As in `HeadObjectRequest`. */
  readonly customerKey?: Uint8Array;
}

export interface CopyObjectRequest extends BucketRequest {
  readonly key: string;
  readonly owner: Owner;
  /** As in `PutObjectRequest`: neither owner nor ACL of the source are copied. */
  readonly ownership?: DecideOwnership;
  readonly source: ObjectSource;
  /** Given: replaces the source's (`x-amz-metadata-directive: REPLACE`); absent: copied. */
  readonly metadata?: ObjectMetadata;
  readonly checksumAlgorithm?: ChecksumAlgorithm;
  readonly preconditions?: Preconditions;
  /** Default: STANDARD, whatever the source's is. */
  readonly storageClass?: string;
  /** Of the copy; absent: as its bucket says, whatever the source's is. */
  readonly encryption?: EncryptionRequest;
  /** Given: replace the source's (`x-amz-tagging-directive: REPLACE`); absent: copied. */
  readonly tags?: Tags;
  /** Never copied. */
  readonly lock?: ObjectLock;
}

export interface UpdateObjectAclRequest extends BucketRequest {
  readonly key: string;
  readonly versionId?: string;
  /** The new ACL, undefined for the default, given what it is set on; throws to refuse. */
  readonly change: (bucket: Bucket, object: ExistingObject) => string | undefined;
}

export interface ObjectAclUpdated {
  /** Present where the bucket is versioned. */
  readonly versionId?: string;
}

/** What is given replaces what was: no tags remove them all. */
export interface UpdateObjectRequest extends BucketRequest {
  readonly key: string;
  readonly versionId?: string;
  readonly tags?: Tags;
  readonly retention?: Retention | 'none';
  readonly legalHold?: boolean;
  /** As in `DeleteObjectRequest`: what weakens a retention under GOVERNANCE needs it. */
  readonly bypassGovernance?: Authorize;
}

export interface ObjectUpdated {
  /** Present where the bucket is or was versioned. */
  readonly versionId?: string;
}

export interface ListObjectsRequest extends BucketRequest {
  readonly prefix: string;
  readonly delimiter?: string;
  /** Exclusive: a key or a common prefix (v1 marker, v2 start-after or decoded token). */
  readonly startAfter?: string;
  /** 0..1000; keys and prefixes together. */
  readonly maxKeys: number;
}

export interface ObjectSummary {
  readonly key: string;
  readonly sizeBytes: number;
  readonly etag: string;
  readonly lastModifiedMs: number;
  readonly owner: Owner;
  readonly storageClass: string;
  readonly checksum?: { readonly algorithm: ChecksumAlgorithm; readonly type: ChecksumType };
}

export interface ObjectPage {
  readonly objects: readonly ObjectSummary[];
  readonly prefixes: readonly string[];
  /** Present when there is more: the last key or prefix of this page. */
  readonly next?: string;
}

export interface ListVersionsRequest extends BucketRequest {
  readonly prefix: string;
  readonly delimiter?: string;
  readonly keyMarker?: string;
  readonly versionIdMarker?: string;
  readonly maxKeys: number;
}

export interface VersionSummary extends ObjectSummary {
  /** `null` where the bucket was unversioned when it was written. */
  readonly versionId: string;
  readonly isLatest: boolean;
  readonly deleteMarker: boolean;
}

export interface VersionPage {
  readonly versions: readonly VersionSummary[];
  readonly prefixes: readonly string[];
  readonly nextKeyMarker?: string;
  readonly nextVersionIdMarker?: string;
}

export interface CreateUploadRequest extends BucketRequest {
  readonly key: string;
  /** Who begins the upload. The object will be theirs unless `ownership` decides otherwise. */
  readonly owner: Owner;
  readonly ownership?: DecideOwnership;
  readonly metadata: ObjectMetadata;
  readonly checksum?: { readonly algorithm: ChecksumAlgorithm; readonly type?: ChecksumType };
  /** Default: STANDARD. */
  readonly storageClass?: string;
  /** Of the object to be; absent: as the bucket says now. */
  readonly encryption?: EncryptionRequest;
  readonly tags?: Tags;
  readonly lock?: ObjectLock;
}

export interface UploadCreated {
  readonly uploadId: string;
  readonly encryption?: ObjectEncryption;
  readonly checksum?: { readonly algorithm: ChecksumAlgorithm; readonly type: ChecksumType };
}

export interface UploadRequest extends BucketRequest {
  readonly key: string;
  readonly uploadId: string;
}

export interface UploadPartRequest extends UploadRequest {
  /** 1..10,000 */
  readonly partNumber: number;
  readonly body: IncomingBody;
  /** The key that the upload was begun with, where it was begun with one. */
  readonly customerKey?: Uint8Array;
}

export interface UploadPartCopyRequest extends UploadRequest {
  readonly partNumber: number;
  readonly source: ObjectSource;
  readonly range?: { readonly start: number; readonly end: number };
  /** As in `UploadPartRequest`. */
  readonly customerKey?: Uint8Array;
}

export interface PartWritten {
  readonly etag: string;
  readonly lastModifiedMs: number;
  readonly checksum?: Checksum;
  readonly encryption?: ObjectEncryption;
}

export interface ListPartsRequest extends UploadRequest {
  readonly partNumberMarker: number;
  readonly maxParts: number;
}

export interface PartSummary {
  readonly partNumber: number;
  readonly etag: string;
  readonly sizeBytes: number;
  readonly lastModifiedMs: number;
  readonly checksum?: Checksum;
}

export interface PartPage {
  readonly parts: readonly PartSummary[];
  readonly owner: Owner;
  readonly initiator: Owner;
  readonly storageClass: string;
  readonly checksum?: { readonly algorithm: ChecksumAlgorithm; readonly type: ChecksumType };
  readonly next?: number;
}

export interface CompleteUploadRequest extends UploadRequest {
  /** In the order in which the client gave them. */
  readonly parts: readonly {
    readonly partNumber: number;
    readonly etag: string;
    readonly checksum?: { readonly algorithm: ChecksumAlgorithm; readonly value: string };
  }[];
  /** Of the whole object, as the client expects it. */
  readonly checksum?: {
    readonly algorithm: ChecksumAlgorithm;
    readonly type?: ChecksumType;
    readonly value: string;
  };
  /** `x-amz-mp-object-size` */
  readonly sizeBytes?: number;
  readonly preconditions?: Preconditions;
  /** As in `UploadPartRequest`. */
  readonly customerKey?: Uint8Array;
}

export interface ListUploadsRequest extends BucketRequest {
  readonly prefix: string;
  readonly delimiter?: string;
  readonly keyMarker?: string;
  readonly uploadIdMarker?: string;
  readonly maxUploads: number;
}

export interface UploadSummary {
  readonly key: string;
  readonly uploadId: string;
  readonly initiatedMs: number;
  readonly owner: Owner;
  readonly initiator: Owner;
  readonly storageClass: string;
}

export interface UploadPage {
  readonly uploads: readonly UploadSummary[];
  readonly prefixes: readonly string[];
  readonly nextKeyMarker?: string;
  readonly nextUploadIdMarker?: string;
}
