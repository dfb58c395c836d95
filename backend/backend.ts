import type {
  BucketInfo,
  Bucket,
  UpdateBucketSettingsRequest,
  BucketRequest,
  ListBucketsRequest,
  BucketPage,
  CreateBucketRequest,
} from './requests/buckets.ts';
import type {
  PutObjectRequest,
  ObjectWritten,
  ObjectCopied,
  HeadObjectRequest,
  GetObjectRequest,
  ObjectHead,
  ObjectRead,
  DeleteObjectRequest,
  ObjectDeleted,
  CopyObjectRequest,
  UpdateObjectAclRequest,
  ObjectAclUpdated,
  UpdateObjectRequest,
  ObjectUpdated,
} from './requests/objects.ts';
import type {
  ListObjectsRequest,
  ObjectPage,
  ListVersionsRequest,
  VersionPage,
} from './requests/listings.ts';
import type {
  CreateUploadRequest,
  UploadCreated,
  UploadRequest,
  UploadPartRequest,
  UploadPartCopyRequest,
  PartWritten,
  ListPartsRequest,
  PartPage,
  CompleteUploadRequest,
  ListUploadsRequest,
  UploadPage,
} from './requests/uploads.ts';

export type * from './requests/buckets.ts';
export type * from './requests/objects.ts';
export type * from './requests/listings.ts';
export type * from './requests/uploads.ts';

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
