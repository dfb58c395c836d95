import type { Owner, Tags, ObjectLock, DecideOwnership, BucketRequest } from './buckets.ts';
import type {
  ObjectMetadata,
  ChecksumAlgorithm,
  ChecksumType,
  Checksum,
  IncomingBody,
  EncryptionRequest,
  ObjectEncryption,
  Preconditions,
  ObjectSource,
} from './objects.ts';

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
