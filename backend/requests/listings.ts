import type { Owner, BucketRequest } from './buckets.ts';
import type { ChecksumAlgorithm, ChecksumType } from './objects.ts';

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
