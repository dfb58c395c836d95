import type { Condition, Operation } from '../../s3db/database.ts';
import type { Bucket, RequestOrigin } from '../backend.ts';

/** S3's names for what happens to objects, without `s3:`. */
export type ObjectEvent =
  | 'ObjectCreated:Put'
  | 'ObjectCreated:Post'
  | 'ObjectCreated:Copy'
  | 'ObjectCreated:CompleteMultipartUpload'
  | 'ObjectRemoved:Delete'
  | 'ObjectRemoved:DeleteMarkerCreated'
  | 'LifecycleExpiration:Delete'
  | 'LifecycleExpiration:DeleteMarkerCreated';

/** What a batch does to one object, for those who keep account of it. */
export interface ObjectChange {
  readonly event: ObjectEvent;
  readonly bucket: Bucket & { readonly id: Uint8Array };
  readonly key: string;
  /** Of the version that is made or removed; absent in buckets that aren't versioned. */
  readonly versionId?: string;
  /** Of the version that is made. */
  readonly made?: { readonly sizeBytes: number; readonly etag: string };
  /** When, in milliseconds since 1970: later changes of a key have later times. */
  readonly atMs: number;
  /** What the bucket holds more (or, negative, less) after it: all versions count, delete markers don't. */
  readonly growth: Growth;
  readonly origin?: RequestOrigin;
}

export interface Growth {
  readonly bytes: number;
  readonly versions: number;
}

/** What an observer adds to the batch of a change. */
export interface ChangeRows {
  readonly operations: readonly Operation[];
  /** Where one of them fails, the change is built anew and the observer asked again. */
  readonly conditions?: readonly Condition[];
}

/**
 * Asked about every change before its batch is sent, and again when the batch has to be built anew. What it answers
 * goes into the batch: it is kept if and only if the change is. Throws to refuse the change.
 */
export type ChangeObserver = (change: ObjectChange) => Promise<ChangeRows> | ChangeRows;
