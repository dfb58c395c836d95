/**
 * What a backend refuses, in S3's own codes. The HTTP layer maps each to its status and message, exhaustively.
 * https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
 */
export type BackendErrorCode =
  | 'AccessDenied'
  | 'BadDigest'
  | 'BucketAlreadyExists'
  | 'BucketAlreadyOwnedByYou'
  | 'BucketNotEmpty'
  | 'EntityTooLarge'
  | 'EntityTooSmall'
  | 'IncompleteBody'
  | 'InternalError'
  | 'InvalidArgument'
  | 'InvalidBucketName'
  | 'InvalidBucketState'
  | 'InvalidPart'
  | 'InvalidPartOrder'
  | 'InvalidRange'
  | 'InvalidRequest'
  | 'InvalidStorageClass'
  | 'KMS.NotFoundException'
  | 'KeyTooLongError'
  | 'MethodNotAllowed'
  | 'NoSuchBucket'
  | 'NoSuchKey'
  | 'NoSuchUpload'
  | 'NoSuchVersion'
  | 'NotImplemented'
  | 'NotModified'
  | 'OperationAborted'
  | 'PreconditionFailed'
  | 'QuotaExceeded'
  | 'ServiceUnavailable'
  | 'SlowDown';

/** A refusal that the client may be told, word for word. */
export class BackendError extends Error {
  override readonly name = 'BackendError';
  readonly code: BackendErrorCode;
  /** More elements of the XML error, and headers of the answer (`versionId`, `deleteMarker`, `etag`, `lastModified`). */
  readonly details: Readonly<Record<string, string>>;
  constructor(code: BackendErrorCode, message: string, details: Readonly<Record<string, string>> = {}) {
    super(message);
    this.code = code;
    this.details = details;
  }
}
