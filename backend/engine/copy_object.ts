import type {
  ChecksumAlgorithm,
  CopyObjectRequest,
  GetObjectRequest,
  ObjectCopied,
  ObjectSource,
} from '../backend.ts';
import type { EngineContext } from './context.ts';
import { refuse } from './context.ts';
import { findObject, openObject, type FoundObject } from './get_object.ts';
import { contentIdOf, mintId } from './ids.ts';
import { ingestProtected, maxSinglePutBytes } from './ingest.ts';
import { endStream } from './owned_stream.ts';
import { checkKey } from './object_keys.ts';
import { checkLockAsked } from './object_lock.ts';
import { checkSourcePreconditions, checkWritePreconditions } from './preconditions.ts';
import { protectionOf } from './protection.ts';
import { commitContent, ownershipOf } from './put_object.ts';
import { storageClassOf } from './storage_classes.ts';
import { readTarget } from './targets.ts';

/** Reads the source's bytes and writes them anew; the copy is of one piece whatever its source was. */
export async function copyObject(context: EngineContext, request: CopyObjectRequest): Promise<ObjectCopied> {
  checkKey(request.key);
  const { source } = request;
  refuseOntoItself(request);
  const storageClass = storageClassOf(context, request);
  const target = await readTarget(context, request);
  checkWritePreconditions(request.preconditions, target.current?.row);
  ownershipOf(request, target.bucket.row);
  checkLockAsked(context, request.lock, target.bucket.row);
  const asked = sourceRequest(source, request.signal);
  const size = (await findObject(context, asked, checkSourcePreconditions)).head.sizeBytes;
  if (size > maxSinglePutBytes) {
    refuse(
      'InvalidRequest',
      `The specified copy source is larger than the maximum allowable size for a copy source: ${maxSinglePutBytes}`,
    );
  }
  const { found, body } = await openObject(context, asked, checkSourcePreconditions);
  const algorithm = request.checksumAlgorithm ?? algorithmOf(found);
  const metadata = request.metadata ?? found.head.metadata;
  const content = await ingestFrom(body, (stream) =>
    ingestProtected(context, {
      contentId: contentIdOf(request.bucket, request.key, mintId(context)),
      body: { stream, sizeBytes: found.head.sizeBytes },
      algorithms: [algorithm],
      storageClass,
      protection: protectionOf(context, {
        name: request,
        asked: request.encryption,
        bucket: target.bucket.row,
        metadata,
      }),
      signal: request.signal,
    }),
  );
  const raw = content.checksums.get(algorithm);
  const tags = request.tags ?? found.head.tags;
  const written = await commitContent(context, {
    ...request,
    event: 'ObjectCreated:Copy',
    storageClass,
    metadata,
    ...(tags === undefined ? {} : { tags }),
    target,
    content,
    ...(raw === undefined
      ? {}
      : { checksum: { algorithm, type: 'FULL_OBJECT', value: Buffer.from(raw).toString('base64') } }),
  });
  const sourceVersionId = found.head.versionId;
  return sourceVersionId === undefined ? written : { ...written, sourceVersionId };
}

/** A copy of an object onto itself must change something. @throws BackendError InvalidRequest */
export function refuseOntoItself(request: CopyObjectRequest): void {
  const { source } = request;
  const ontoItself = source.bucket === request.bucket && source.key === request.key;
  if (!ontoItself || source.versionId !== undefined) return;
  if (request.metadata !== undefined || request.storageClass !== undefined) return;
  if (request.encryption !== undefined) return;
  refuse(
    'InvalidRequest',
    "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.",
  );
}

/** Ends the source's stream however the ingestion ends, also where it never began to read. */
export async function ingestFrom<Result>(
  source: AsyncIterable<Uint8Array>,
  work: (source: AsyncIterable<Uint8Array>) => Promise<Result>,
): Promise<Result> {
  try {
    return await work(source);
  } finally {
    await endStream(source);
  }
}

export function sourceRequest(source: ObjectSource, signal: AbortSignal | undefined): GetObjectRequest {
  return {
    bucket: source.bucket,
    key: source.key,
    authorize: source.authorize,
    ...(source.versionId === undefined ? {} : { versionId: source.versionId }),
    ...(source.preconditions === undefined ? {} : { preconditions: source.preconditions }),
    ...(source.customerKey === undefined ? {} : { customerKey: source.customerKey }),
    ...(signal === undefined ? {} : { signal }),
  };
}

function algorithmOf(found: FoundObject): ChecksumAlgorithm {
  return found.content.row.checksum?.algorithm ?? 'CRC64NVME';
}
