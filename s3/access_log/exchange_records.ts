import { isRoot, principalArn } from '../access/identity.ts';
import type { Bucket } from '../../backend/backend.ts';
import type { Exchange } from '../exchange.ts';
import type { Query } from '../http/query.ts';
import { decodeHeaderText } from '../request/header_text.ts';
import type { AccessRecord } from './record.ts';

/**
 * The records of a request for the bucket that it was about: one for itself, and one for each key of a long deletion.
 * @param answered.atMs milliseconds since 1970
 */
export function recordsOf(
  exchange: Exchange,
  bucket: Bucket,
  answered: { readonly atMs: number; readonly durationMs: number },
): AccessRecord[] {
  const { headers, method, target, resource, answer } = exchange;
  const query = target.rawQuery === '' ? '' : `?${withoutSignature(target.rawQuery)}`;
  const record: AccessRecord = {
    ...commonFields(exchange, bucket, answered),
    operation: operationOf(exchange),
    key: resource?.key === '' ? undefined : resource?.key,
    request: `${method} ${target.rawPath}${query} HTTP/1.1`,
    status: exchange.status,
    errorCode: exchange.errorCode,
    sentBytes: exchange.sentBytes,
    objectBytes: objectBytes(exchange),
    durationMs: answered.durationMs,
    referer: text(headers.get('referer')),
    userAgent: text(headers.get('user-agent')),
    versionId: answer?.['x-amz-version-id'] ?? exchange.query?.get('versionId'),
  };
  const deletions = (exchange.access.deletions ?? []).map((deletion): AccessRecord => ({
    ...record,
    ...deletion,
    operation: 'BATCH.DELETE.OBJECT',
    request: undefined,
    sentBytes: undefined,
    objectBytes: undefined,
    durationMs: undefined,
  }));
  return [record, ...deletions];
}

/** The record of a copy in the log of the bucket that was copied from. */
export function sourceRecord(
  exchange: Exchange,
  answered: { readonly atMs: number; readonly durationMs: number },
): { readonly bucket: Bucket; readonly record: AccessRecord } | undefined {
  const { source } = exchange.access;
  if (source === undefined) return undefined;
  const record: AccessRecord = {
    ...commonFields(exchange, source.bucket, answered),
    operation: exchange.operation === 'CopyObject' ? 'REST.COPY.OBJECT_GET' : 'REST.COPY.PART_GET',
    key: source.key,
    request: undefined,
    status: exchange.status,
    errorCode: exchange.errorCode,
    sentBytes: undefined,
    objectBytes: undefined,
    durationMs: undefined,
    referer: undefined,
    userAgent: text(exchange.headers.get('user-agent')),
    versionId: source.versionId,
  };
  return { bucket: source.bucket, record };
}

function commonFields(exchange: Exchange, bucket: Bucket, answered: { readonly atMs: number }) {
  const { caller, answer, headers } = exchange;
  const signed = caller?.kind === 'signed' ? caller : undefined;
  const requester =
    signed === undefined || isRoot(signed.credential) ? signed?.owner.id : principalArn(signed.credential);
  return {
    ownerId: bucket.owner.id,
    bucket: bucket.name,
    atMs: answered.atMs,
    remoteAddress: exchange.remoteAddress,
    requester,
    requestId: exchange.requestId,
    hostId: answer?.['x-amz-id-2'],
    signature: signed === undefined ? undefined : ('SigV4' as const),
    authentication:
      signed === undefined || signed.authType === 'POST' ? undefined : authentications[signed.authType],
    host: headers.get('host'),
    aclRequired: exchange.access.aclRequired === true,
  };
}

const authentications = { 'REST-HEADER': 'AuthHeader', 'REST-QUERY-STRING': 'QueryString' } as const;

function text(header: string | undefined): string | undefined {
  return header === undefined ? undefined : decodeHeaderText(header);
}

/** Whoever reads the log must not be able to use a presigned URL that is in it. */
function withoutSignature(rawQuery: string): string {
  return rawQuery
    .split('&')
    .map((pair) => {
      const [name = ''] = pair.split('=');
      return /^x-amz-(signature|security-token)$/i.test(unescaped(name)) ? `${name}=REDACTED` : pair;
    })
    .join('&');
}

function unescaped(name: string): string {
  return name.replace(/%([0-9a-f]{2})/gi, (_, code: string) => String.fromCharCode(parseInt(code, 16)));
}

/** How large the object is that was read or written, as far as the request or its answer tells. */
function objectBytes(exchange: Exchange): number | undefined {
  const { answer, headers, operation, status } = exchange;
  if (status >= 300 || operation === undefined) return undefined;
  if (operation === 'GetObject' || operation === 'HeadObject' || operation === 'WebsiteGetObject') {
    const whole = /^bytes \d+-\d+\/(\d+)$/.exec(answer?.['content-range'] ?? '');
    return Number(whole?.[1] ?? answer?.['content-length'] ?? 0);
  }
  if (operation !== 'PutObject' && operation !== 'UploadPart') return undefined;
  return Number(headers.get('x-amz-decoded-content-length') ?? headers.get('content-length') ?? 0);
}

/** Where S3's name doesn't follow from method and resource. */
const names: Readonly<Record<string, string>> = {
  CopyObject: 'REST.COPY.OBJECT',
  UploadPart: 'REST.PUT.PART',
  UploadPartCopy: 'REST.COPY.PART',
  CreateMultipartUpload: 'REST.POST.UPLOADS',
  CompleteMultipartUpload: 'REST.POST.UPLOAD',
  AbortMultipartUpload: 'REST.DELETE.UPLOAD',
  ListParts: 'REST.GET.UPLOAD',
  ListMultipartUploads: 'REST.GET.UPLOADS',
  ListObjectVersions: 'REST.GET.BUCKETVERSIONS',
  DeleteObjects: 'REST.POST.MULTI_OBJECT_DELETE',
  GetObjectTagging: 'REST.GET.OBJECT_TAGGING',
  PutObjectTagging: 'REST.PUT.OBJECT_TAGGING',
  DeleteObjectTagging: 'REST.DELETE.OBJECT_TAGGING',
  WebsiteGetObject: 'WEBSITE.GET.OBJECT',
};

function operationOf(exchange: Exchange): string {
  const { operation, method, resource, query } = exchange;
  const named = operation === undefined ? undefined : names[operation];
  if (named !== undefined) return named;
  if (method === 'OPTIONS') return 'REST.OPTIONS.PREFLIGHT';
  const level = resource?.level === 'object' || operation === 'PostObject' ? 'OBJECT' : 'BUCKET';
  return `REST.${method}.${subresourceOf(query) ?? level}`;
}

/** What of a bucket or an object a request may be about. */
const subresources: ReadonlySet<string> = new Set([
  'accelerate',
  'acl',
  'attributes',
  'cors',
  'encryption',
  'legal-hold',
  'lifecycle',
  'location',
  'logging',
  'notification',
  'object-lock',
  'ownershipControls',
  'policy',
  'policyStatus',
  'publicAccessBlock',
  'replication',
  'requestPayment',
  'retention',
  'tagging',
  'versioning',
  'website',
]);

function subresourceOf(query: Query | undefined): string | undefined {
  for (const [name] of query?.entries() ?? []) {
    if (subresources.has(name)) return name.toUpperCase().replaceAll('-', '_');
  }
  return undefined;
}
