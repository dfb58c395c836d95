import type {
  Owner,
  Bucket,
  ExistingObject,
  Tags,
  Retention,
  ObjectLock,
  Authorize,
  DecideOwnership,
  BucketRequest,
} from './buckets.ts';

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
