import { createHash } from 'node:crypto';
import type { Checksum, CompleteUploadRequest, ObjectWritten } from '../backend.ts';
import type { SseRow } from '../encryption/sse_row.ts';
import { commit, type Proposal } from './commit.ts';
import { checksumOfParts, type ChosenPart } from './composite.ts';
import type { EngineContext } from './context.ts';
import { refuse } from './context.ts';
import { replaceCurrent, shownVersionId } from './current_version.ts';
import { expirationField } from './expiration.ts';
import { contentIdOf, mintId } from './ids.ts';
import { checkKey } from './object_keys.ts';
import { readAllParts } from './part_rows.ts';
import { checkWritePreconditions } from './preconditions.ts';
import { checkUploadKey, encryptionField } from './protection.ts';
import { STATE_KEYS } from './row_keys.ts';
import {
  decodeCompleted,
  encodeCompleted,
  type BucketRow,
  type CompletedRow,
  type UploadRow,
} from './rows.ts';
import { readTarget, rowUnchanged, type ReadRow } from './targets.ts';
import { endUpload, findUpload, refuseUpload } from './uploads.ts';

const minPartBytes = 5 * 1024 ** 2;
const maxObjectBytes = 5 * 1024 ** 4;

/**
 * Makes the parts an object, in one batch that is conditional on the upload and on every part that is named. Given
 * again with the same parts, it answers as before.
 */
export async function completeMultipartUpload(
  context: EngineContext,
  request: CompleteUploadRequest,
): Promise<ObjectWritten> {
  checkKey(request.key);
  checkOrder(request);
  const contentId = contentIdOf(request.bucket, request.key, mintId(context));
  const written = await commit(context, () => propose(context, request, contentId));
  context.wakeGarbage();
  return written;
}

async function propose(
  context: EngineContext,
  request: CompleteUploadRequest,
  contentId: Uint8Array,
): Promise<Proposal<ObjectWritten>> {
  const { bucket, uploadId, upload } = await findUpload(context, request);
  if (upload === undefined) {
    const before = await readCompleted(context, uploadId);
    if (before === undefined || !answersSame(before, { request, bucketId: bucket.row.id }))
      refuseUpload(request);
    return { conditions: [], operations: [], result: writtenOf(before) };
  }
  checkUploadKey(upload.row.sse, request.customerKey);
  const [target, parts] = await Promise.all([
    readTarget(context, request),
    chooseParts(context, { request, uploadId, upload: upload.row }),
  ]);
  checkWritePreconditions(request.preconditions, target.current?.row);
  const object = assemble(context, { request, upload, parts });
  const { conditions, operations, row, growth } = await replaceCurrent(context, target, {
    contentId,
    owner: upload.row.owner,
    acl: upload.row.acl,
    metadata: upload.row.metadata,
    storageClass: upload.row.storageClass,
    tags: upload.row.tags,
    lock: upload.row.lock,
    ...object,
    place: {
      ...(upload.row.sse === undefined ? {} : { sse: upload.row.sse }),
      parts: parts.map(({ row, partNumber }) => ({
        contentId: row.contentId,
        sizeBytes: row.sizeBytes,
        checksum: row.checksum,
        partNumber,
      })),
    },
  });
  const completed = completedRow(request, {
    bucket: bucket.row,
    object,
    mtimeMs: row.mtimeMs,
    sse: upload.row.sse,
    ...shownVersionId(row),
  });
  return {
    conditions: [
      ...conditions,
      rowUnchanged('multipart', upload.key, upload),
      ...parts.map((part) => rowUnchanged('parts', part.key, part)),
    ],
    operations: [
      ...operations,
      ...endUpload({ upload, uploadId }, contentId),
      {
        type: 'put',
        table: 'state',
        key: STATE_KEYS.completed(uploadId),
        value: encodeCompleted(completed),
      },
    ],
    changes: [
      {
        event: 'ObjectCreated:CompleteMultipartUpload',
        bucket: bucket.row,
        key: request.key,
        made: object,
        atMs: row.mtimeMs,
        ...shownVersionId(row),
        growth,
        ...(request.origin === undefined ? {} : { origin: request.origin }),
      },
    ],
    result: {
      ...writtenOf(completed),
      ...expirationField(context, bucket.row, { key: request.key, row }),
    },
  };
}

/** What a repeated Complete is answered from. */
export function completedRow(
  request: CompleteUploadRequest,
  made: {
    readonly bucket: BucketRow;
    readonly object: AssembledObject;
    readonly mtimeMs: number;
    readonly sse?: SseRow | undefined;
    readonly versionId?: string;
  },
): CompletedRow {
  const { sizeBytes, etag, checksum } = made.object;
  return {
    bucketId: made.bucket.id,
    key: request.key,
    request: digestOf(request),
    etag,
    lastModifiedMs: made.mtimeMs,
    sizeBytes,
    checksum,
    ...(made.sse === undefined ? {} : { sse: made.sse }),
    ...(made.versionId === undefined ? {} : { versionId: made.versionId }),
  };
}

interface AssembledObject {
  readonly sizeBytes: number;
  readonly etag: string;
  readonly checksum: Checksum;
}

/** What the parts make together, held against what the client expects of it. */
export function assemble(
  context: Pick<EngineContext, 'checksums'>,
  upload: {
    readonly request: CompleteUploadRequest;
    readonly upload: ReadRow<UploadRow>;
    readonly parts: readonly ChosenPart[];
  },
): AssembledObject {
  const { request, parts } = upload;
  const sizeBytes = parts.reduce((sum, { row }) => sum + row.sizeBytes, 0);
  if (sizeBytes > maxObjectBytes) {
    refuse('EntityTooLarge', 'Your proposed upload exceeds the maximum allowed object size.', {
      MaxSizeAllowed: String(maxObjectBytes),
    });
  }
  if (request.sizeBytes !== undefined && request.sizeBytes !== sizeBytes) {
    refuse(
      'InvalidRequest',
      `The provided 'x-amz-mp-object-size' header value ${request.sizeBytes} does not match what was computed: ${sizeBytes}`,
    );
  }
  const hash = createHash('md5');
  for (const { row } of parts) hash.update(row.md5);
  const { algorithm, type } = upload.upload.row.checksum;
  const checksum = checksumOfParts(context.checksums, { algorithm, type, parts });
  checkExpected(request, checksum);
  return { sizeBytes, etag: `${hash.digest('hex')}-${parts.length}`, checksum };
}

function checkExpected(request: CompleteUploadRequest, checksum: Checksum): void {
  const expected = request.checksum;
  if (expected === undefined) return;
  if (expected.type !== undefined && expected.type !== checksum.type) {
    refuse(
      'BadDigest',
      `The upload was created using the ${checksum.type} checksum mode. The complete request must use the same checksum mode.`,
    );
  }
  if (expected.algorithm !== checksum.algorithm) {
    refuse(
      'InvalidRequest',
      `The upload was created using the ${checksum.algorithm.toLowerCase()} checksum algorithm. The complete request must use the same checksum algorithm.`,
    );
  }
  // Clients give composites with or without the number of parts.
  if (expected.value !== checksum.value && expected.value !== checksum.value.split('-')[0]) {
    refuse(
      'BadDigest',
      `The ${checksum.algorithm.toLowerCase()} you specified did not match the calculated checksum.`,
    );
  }
}

/** @throws BackendError InvalidPartOrder; InvalidRequest for no parts at all. */
export function checkOrder(request: CompleteUploadRequest): void {
  if (request.parts.length === 0) refuse('InvalidRequest', 'You must specify at least one part');
  for (const [i, part] of request.parts.entries()) {
    const before = request.parts[i - 1];
    if (before !== undefined && before.partNumber >= part.partNumber) {
      refuse(
        'InvalidPartOrder',
        'The list of parts was not in ascending order. Parts must be ordered by part number.',
      );
    }
  }
}

/** The parts that the client names, each as it is stored. @throws BackendError InvalidPart, EntityTooSmall */
export async function chooseParts(
  context: EngineContext,
  upload: {
    readonly request: CompleteUploadRequest;
    readonly uploadId: Uint8Array;
    readonly upload: UploadRow;
  },
): Promise<ChosenPart[]> {
  const stored = await readAllParts(context, upload.uploadId);
  const { request } = upload;
  const last = request.parts.at(-1);
  return request.parts.map((named) => {
    const part = stored.get(named.partNumber);
    if (part === undefined || named.etag !== Buffer.from(part.row.md5).toString('hex')) {
      refuseParts(request, named.partNumber);
    }
    const { checksum } = named;
    if (
      checksum?.algorithm === upload.upload.checksum.algorithm &&
      checksum.value !== Buffer.from(part.row.checksum).toString('base64')
    ) {
      refuseParts(request, named.partNumber);
    }
    if (named !== last && part.row.sizeBytes < minPartBytes) {
      refuse('EntityTooSmall', 'Your proposed upload is smaller than the minimum allowed size', {
        ProposedSize: String(part.row.sizeBytes),
        MinSizeAllowed: String(minPartBytes),
        PartNumber: String(named.partNumber),
        ETag: named.etag,
      });
    }
    return part;
  });
}

function refuseParts(request: CompleteUploadRequest, partNumber: number): never {
  return refuse(
    'InvalidPart',
    "One or more of the specified parts could not be found. The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.",
    { UploadId: request.uploadId, PartNumber: String(partNumber) },
  );
}

export async function readCompleted(
  context: EngineContext,
  uploadId: Uint8Array,
): Promise<CompletedRow | undefined> {
  const bytes = await context.state.get('state', STATE_KEYS.completed(uploadId));
  return bytes === undefined ? undefined : decodeCompleted(bytes);
}

export function answersSame(
  before: CompletedRow,
  now: { readonly request: CompleteUploadRequest; readonly bucketId: Uint8Array },
): boolean {
  return (
    before.key === now.request.key &&
    Buffer.compare(before.bucketId, now.bucketId) === 0 &&
    Buffer.compare(before.request, digestOf(now.request)) === 0
  );
}

function digestOf(request: CompleteUploadRequest): Uint8Array {
  const hash = createHash('sha256');
  for (const { partNumber, etag } of request.parts) hash.update(`${partNumber}:${etag};`);
  return new Uint8Array(hash.digest());
}

export function writtenOf(completed: CompletedRow): ObjectWritten {
  return {
    etag: completed.etag,
    lastModifiedMs: completed.lastModifiedMs,
    sizeBytes: completed.sizeBytes,
    ...(completed.checksum === undefined ? {} : { checksum: completed.checksum }),
    ...encryptionField(completed.sse),
    ...(completed.versionId === undefined ? {} : { versionId: completed.versionId }),
  };
}
