import type { RequestHeaders } from './http/headers.ts';
import type { Query } from './http/query.ts';
import type { Operation } from './operation.ts';
import { abortMultipartUpload } from './operations/abort_multipart_upload.ts';
import { getBucketAccelerate, getBucketReplication } from './operations/bucket_configuration.ts';
import {
  deleteBucketEncryption,
  getBucketEncryption,
  putBucketEncryption,
} from './operations/bucket_encryption.ts';
import { deleteBucketCors, getBucketCors, putBucketCors } from './operations/bucket_cors.ts';
import { getBucketLogging, putBucketLogging } from './operations/bucket_logging.ts';
import { getBucketNotification, putBucketNotification } from './operations/bucket_notification.ts';
import { deleteBucketWebsite, getBucketWebsite, putBucketWebsite } from './operations/bucket_website.ts';
import { getBucketRequestPayment, putBucketRequestPayment } from './operations/bucket_request_payment.ts';
import {
  deleteBucketLifecycle,
  getBucketLifecycle,
  putBucketLifecycle,
} from './operations/bucket_lifecycle.ts';
import { getObjectLockConfiguration, putObjectLockConfiguration } from './operations/bucket_object_lock.ts';
import { deleteBucketTagging, getBucketTagging, putBucketTagging } from './operations/bucket_tagging.ts';
import { getBucketVersioning, putBucketVersioning } from './operations/bucket_versioning.ts';
import { getBucketAcl, putBucketAcl } from './operations/bucket_acl.ts';
import {
  deleteBucketPolicy,
  getBucketPolicy,
  getBucketPolicyStatus,
  putBucketPolicy,
} from './operations/bucket_policy.ts';
import { completeMultipartUpload } from './operations/complete_multipart_upload.ts';
import { copyObject } from './operations/copy_object.ts';
import { createBucket } from './operations/create_bucket.ts';
import { createMultipartUpload } from './operations/create_multipart_upload.ts';
import { deleteBucket } from './operations/delete_bucket.ts';
import { deleteObject } from './operations/delete_object.ts';
import { deleteObjects } from './operations/delete_objects.ts';
import { getBucketLocation } from './operations/get_bucket_location.ts';
import { getObject } from './operations/get_object.ts';
import { getObjectAttributes } from './operations/get_object_attributes.ts';
import { headBucket } from './operations/head_bucket.ts';
import { headObject } from './operations/head_object.ts';
import { listBuckets } from './operations/list_buckets.ts';
import { listMultipartUploads } from './operations/list_multipart_uploads.ts';
import { listObjects } from './operations/list_objects.ts';
import { listObjectsV2 } from './operations/list_objects_v2.ts';
import { listObjectVersions } from './operations/list_object_versions.ts';
import { listParts } from './operations/list_parts.ts';
import { preflight } from './operations/preflight.ts';
import { getObjectAcl, putObjectAcl } from './operations/object_acl.ts';
import {
  deleteBucketOwnershipControls,
  getBucketOwnershipControls,
  putBucketOwnershipControls,
} from './operations/ownership_controls.ts';
import { postObject } from './operations/post_object.ts';
import {
  deletePublicAccessBlock,
  getPublicAccessBlock,
  putPublicAccessBlock,
} from './operations/public_access_block.ts';
import {
  getObjectLegalHold,
  getObjectRetention,
  putObjectLegalHold,
  putObjectRetention,
} from './operations/object_lock.ts';
import { deleteObjectTagging, getObjectTagging, putObjectTagging } from './operations/object_tagging.ts';
import { putObject } from './operations/put_object.ts';
import { uploadPart } from './operations/upload_part.ts';
import { uploadPartCopy } from './operations/upload_part_copy.ts';
import { overrideParameters } from './request/read_request.ts';
import { S3Error } from './errors.ts';
import type { ResourceLevel } from './resource.ts';

type Method = 'GET' | 'HEAD' | 'PUT' | 'POST' | 'DELETE';

interface Route {
  readonly method: Method;
  readonly level: ResourceLevel;
  /** Sub-resources: query parameters that must all be there. */
  readonly query: readonly string[];
  /** A header that must be there. */
  readonly header?: string;
  /** Query parameters that may be there too. */
  readonly optional: readonly string[];
  readonly operation: Operation;
}

interface RouteOptions {
  readonly query?: readonly string[];
  readonly header?: string;
  readonly optional?: readonly string[];
}

function route(
  method: Method,
  level: ResourceLevel,
  operation: Operation,
  options: RouteOptions = {},
): Route {
  const { query = [], optional = [], header } = options;
  return { method, level, operation, query, optional, ...(header === undefined ? {} : { header }) };
}

/** A GET of a bucket's configuration document. */
function configuration(subresource: string, operation: Operation): Route {
  return route('GET', 'bucket', operation, { query: [subresource] });
}

const listing = ['prefix', 'delimiter', 'encoding-type'];

/**
 * Which operation a request is. The first row that fits wins, so within a method and level the rows with sub-resources
 * stand before the one without, and of two with the same sub-resources the one that needs a header stands first.
 *
 * A row fits only if the query holds nothing but what it names (see `selectOperation`): a sub-resource that has no row
 * is NotImplemented and never becomes the plain operation. A `PUT key?tagging` that overwrote the object would lose data.
 */
export const routes: readonly Route[] = [
  route('GET', 'service', listBuckets, {
    optional: ['prefix', 'max-buckets', 'continuation-token', 'bucket-region'],
  }),

  route('GET', 'bucket', getBucketLocation, { query: ['location'] }),
  route('GET', 'bucket', listObjectVersions, {
    query: ['versions'],
    optional: [...listing, 'key-marker', 'version-id-marker', 'max-keys'],
  }),
  route('GET', 'bucket', listMultipartUploads, {
    query: ['uploads'],
    optional: [...listing, 'key-marker', 'upload-id-marker', 'max-uploads'],
  }),
  configuration('versioning', getBucketVersioning),
  configuration('acl', getBucketAcl),
  configuration('policy', getBucketPolicy),
  configuration('policyStatus', getBucketPolicyStatus),
  configuration('cors', getBucketCors),
  configuration('lifecycle', getBucketLifecycle),
  configuration('tagging', getBucketTagging),
  configuration('website', getBucketWebsite),
  configuration('logging', getBucketLogging),
  configuration('notification', getBucketNotification),
  configuration('accelerate', getBucketAccelerate),
  configuration('requestPayment', getBucketRequestPayment),
  configuration('replication', getBucketReplication),
  configuration('encryption', getBucketEncryption),
  configuration('object-lock', getObjectLockConfiguration),
  configuration('publicAccessBlock', getPublicAccessBlock),
  configuration('ownershipControls', getBucketOwnershipControls),
  route('GET', 'bucket', listObjectsV2, {
    query: ['list-type'],
    optional: [...listing, 'max-keys', 'continuation-token', 'start-after', 'fetch-owner'],
  }),
  route('GET', 'bucket', listObjects, { optional: [...listing, 'marker', 'max-keys'] }),
  route('HEAD', 'bucket', headBucket),
  route('PUT', 'bucket', putBucketCors, { query: ['cors'] }),
  route('PUT', 'bucket', putBucketEncryption, { query: ['encryption'] }),
  route('PUT', 'bucket', putBucketLogging, { query: ['logging'] }),
  route('PUT', 'bucket', putBucketNotification, { query: ['notification'] }),
  route('PUT', 'bucket', putBucketWebsite, { query: ['website'] }),
  route('DELETE', 'bucket', deleteBucketWebsite, { query: ['website'] }),
  route('PUT', 'bucket', putBucketRequestPayment, { query: ['requestPayment'] }),
  route('PUT', 'bucket', putBucketVersioning, { query: ['versioning'] }),
  route('PUT', 'bucket', putBucketAcl, { query: ['acl'] }),
  route('PUT', 'bucket', putBucketPolicy, { query: ['policy'] }),
  route('PUT', 'bucket', putBucketOwnershipControls, { query: ['ownershipControls'] }),
  route('PUT', 'bucket', putPublicAccessBlock, { query: ['publicAccessBlock'] }),
  route('PUT', 'bucket', putBucketLifecycle, { query: ['lifecycle'] }),
  route('DELETE', 'bucket', deleteBucketLifecycle, { query: ['lifecycle'] }),
  route('PUT', 'bucket', putBucketTagging, { query: ['tagging'] }),
  route('DELETE', 'bucket', deleteBucketTagging, { query: ['tagging'] }),
  route('PUT', 'bucket', putObjectLockConfiguration, { query: ['object-lock'] }),
  route('PUT', 'bucket', createBucket),
  route('DELETE', 'bucket', deleteBucketCors, { query: ['cors'] }),
  route('DELETE', 'bucket', deleteBucketEncryption, { query: ['encryption'] }),
  route('DELETE', 'bucket', deleteBucketPolicy, { query: ['policy'] }),
  route('DELETE', 'bucket', deleteBucketOwnershipControls, { query: ['ownershipControls'] }),
  route('DELETE', 'bucket', deletePublicAccessBlock, { query: ['publicAccessBlock'] }),
  route('DELETE', 'bucket', deleteBucket),
  route('POST', 'bucket', deleteObjects, { query: ['delete'] }),
  route('POST', 'bucket', postObject, { header: 'content-type' }),

  route('GET', 'object', listParts, {
    query: ['uploadId'],
    optional: ['max-parts', 'part-number-marker', 'encoding-type'],
  }),
  route('GET', 'object', getObjectAcl, { query: ['acl'], optional: ['versionId'] }),
  route('GET', 'object', getObjectTagging, { query: ['tagging'], optional: ['versionId'] }),
  route('PUT', 'object', putObjectTagging, { query: ['tagging'], optional: ['versionId'] }),
  route('DELETE', 'object', deleteObjectTagging, { query: ['tagging'], optional: ['versionId'] }),
  route('GET', 'object', getObjectRetention, { query: ['retention'], optional: ['versionId'] }),
  route('PUT', 'object', putObjectRetention, { query: ['retention'], optional: ['versionId'] }),
  route('GET', 'object', getObjectLegalHold, { query: ['legal-hold'], optional: ['versionId'] }),
  route('PUT', 'object', putObjectLegalHold, { query: ['legal-hold'], optional: ['versionId'] }),
  route('GET', 'object', getObjectAttributes, { query: ['attributes'], optional: ['versionId'] }),
  route('GET', 'object', getObject, { optional: ['versionId', 'partNumber', ...overrideParameters] }),
  route('HEAD', 'object', headObject, { optional: ['versionId', 'partNumber', ...overrideParameters] }),
  route('PUT', 'object', putObjectAcl, { query: ['acl'], optional: ['versionId'] }),
  route('PUT', 'object', uploadPartCopy, { query: ['partNumber', 'uploadId'], header: 'x-amz-copy-source' }),
  route('PUT', 'object', uploadPart, { query: ['partNumber', 'uploadId'] }),
  route('PUT', 'object', copyObject, { header: 'x-amz-copy-source' }),
  route('PUT', 'object', putObject),
  route('POST', 'object', createMultipartUpload, { query: ['uploads'] }),
  route('POST', 'object', completeMultipartUpload, { query: ['uploadId'] }),
  route('DELETE', 'object', abortMultipartUpload, { query: ['uploadId'] }),
  route('DELETE', 'object', deleteObject, { optional: ['versionId'] }),
];

const routesOf = new Map<string, Route[]>();
for (const row of routes) {
  const place = `${row.method} ${row.level}`;
  routesOf.set(place, [...(routesOf.get(place) ?? []), row]);
}

/** What SDKs add to any request and what signs it. Neither chooses an operation. */
const neutralParameter = /^(?:x-id|x-amz-.*)$/i;

/** S3's sub-resources. One that no row names is never taken for a parameter to be ignored. */
const subresources: ReadonlySet<string> = new Set(
  [
    'abac accelerate acl analytics append attributes cors delete encryption intelligent-tiering inventory legal-hold',
    'lifecycle list-type location logging metadataConfiguration metadataInventoryTable metadataJournalTable',
    'metadataTable metrics notification object-lock ownershipControls partNumber policy policyStatus',
    'publicAccessBlock renameObject replication requestPayment restore retention select select-type session tagging',
    'torrent uploadId uploads versionId versioning versions website',
  ].flatMap((names) => names.split(' ')),
);

/**
 * Chooses the operation.
 * @throws S3Error NotImplemented where no row fits, MethodNotAllowed for writes to the service itself.
 */
export function selectOperation(request: {
  readonly method: string;
  readonly level: ResourceLevel;
  readonly query: Query;
  readonly headers: RequestHeaders;
}): Operation {
  const { method, level, query, headers } = request;
  // A browser asks about the whole URL, whatever its query says.
  if (method === 'OPTIONS') return preflight;
  for (const row of routesOf.get(`${method} ${level}`) ?? []) {
    if (row.header !== undefined && !headers.has(row.header)) continue;
    if (!row.query.every((name) => query.has(name))) continue;
    if (query.size > 0) refuseOtherParameters(row, query);
    return row.operation;
  }
  if (level === 'service')
    throw new S3Error('MethodNotAllowed', '', { Method: method, ResourceType: 'SERVICE' });
  throw new S3Error('NotImplemented', `${method} isn't implemented for this resource.`, { Method: method });
}

/**
 * A write must understand the whole query. A read may have parameters that S3 ignores as well, as long as they have a
 * value and aren't sub-resources.
 */
function refuseOtherParameters(row: Route, query: Query): void {
  const reads = row.method === 'GET' || row.method === 'HEAD';
  for (const [name, value] of query.entries()) {
    if (row.query.includes(name) || row.optional.includes(name) || neutralParameter.test(name)) continue;
    const ignorable = reads && !subresources.has(name) && (value !== '' || !/^[a-z][A-Za-z-]*$/.test(name));
    if (!ignorable) throw new S3Error('NotImplemented', '', { Parameter: name });
  }
}
