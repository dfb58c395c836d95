/** Who must have granted what: the owner of the bucket, or that of the object. */
const objectOwnerActions: ReadonlySet<string> = new Set([
  's3:GetObject',
  's3:GetObjectVersion',
  's3:GetObjectAttributes',
  's3:GetObjectVersionAttributes',
  's3:GetObjectAcl',
  's3:GetObjectVersionAcl',
  's3:PutObjectAcl',
  's3:PutObjectVersionAcl',
]);

/** Whether the owner of the object decides, where that isn't the owner of the bucket. */
export function belongsToObjectOwner(action: string): boolean {
  return objectOwnerActions.has(action);
}

/** What manages the policy itself: only ever for the account that owns the bucket, of which the root is never locked out. */
export const policyActions: ReadonlySet<string> = new Set([
  's3:GetBucketPolicy',
  's3:PutBucketPolicy',
  's3:DeleteBucketPolicy',
]);

/**
 * Every action that a bucket policy may name, in lower case.
 * https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html
 */
export const knownActions: ReadonlySet<string> = new Set(
  [
    'AbortMultipartUpload BypassGovernanceRetention CreateBucket DeleteBucket DeleteBucketPolicy DeleteBucketWebsite',
    'DeleteObject DeleteObjectTagging DeleteObjectVersion DeleteObjectVersionTagging GetAccelerateConfiguration',
    'GetAnalyticsConfiguration GetBucketAcl GetBucketCORS GetBucketLocation GetBucketLogging GetBucketNotification',
    'GetBucketObjectLockConfiguration GetBucketOwnershipControls GetBucketPolicy GetBucketPolicyStatus',
    'GetBucketPublicAccessBlock GetBucketRequestPayment GetBucketTagging GetBucketVersioning GetBucketWebsite',
    'GetEncryptionConfiguration GetIntelligentTieringConfiguration GetInventoryConfiguration',
    'GetLifecycleConfiguration GetMetricsConfiguration GetObject GetObjectAcl GetObjectAttributes GetObjectLegalHold',
    'GetObjectRetention GetObjectTagging GetObjectTorrent GetObjectVersion GetObjectVersionAcl',
    'GetObjectVersionAttributes GetObjectVersionForReplication GetObjectVersionTagging GetObjectVersionTorrent',
    'GetReplicationConfiguration InitiateReplication ListBucket ListBucketMultipartUploads ListBucketVersions',
    'ListMultipartUploadParts ObjectOwnerOverrideToBucketOwner PutAccelerateConfiguration PutAnalyticsConfiguration',
    'PutBucketAcl PutBucketCORS PutBucketLogging PutBucketNotification PutBucketObjectLockConfiguration',
    'PutBucketOwnershipControls PutBucketPolicy PutBucketPublicAccessBlock PutBucketRequestPayment PutBucketTagging',
    'PutBucketVersioning PutBucketWebsite PutEncryptionConfiguration PutIntelligentTieringConfiguration',
    'PutInventoryConfiguration PutLifecycleConfiguration PutMetricsConfiguration PutObject PutObjectAcl',
    'PutObjectLegalHold PutObjectRetention PutObjectTagging PutObjectVersionAcl PutObjectVersionTagging',
    'PutReplicationConfiguration ReplicateDelete ReplicateObject ReplicateTags RestoreObject',
  ].flatMap((names) => names.split(' ').map((name) => `s3:${name.toLowerCase()}`)),
);
