import type {
  Checksum,
  GetObjectRequest,
  HeadObjectRequest,
  ObjectHead,
  ObjectPart,
  ObjectRead,
} from '../backend.ts';
import { contentOf, type OpenedContent } from './content_rows.ts';
import { mayHaveMoved, openContent } from './content_stream.ts';
import type { EngineContext } from './context.ts';
import { expirationField } from './expiration.ts';
import { findVersion } from './find_version.ts';
import { checkKey } from './object_keys.ts';
import { checkReaderKey, encryptionField } from './protection.ts';
import { checkReadPreconditions, type ConditionedObject } from './preconditions.ts';
import { resolvePart, resolveRange, type ByteRange } from './ranges.ts';
import type { ContentRow, PartOfContent, VersionRow } from './rows.ts';
import { versioningOf } from './versioning.ts';

const maxOpenAttempts = 4;

export async function headObject(context: EngineContext, request: HeadObjectRequest): Promise<ObjectHead> {
  return (await findObject(context, request, checkReadPreconditions)).head;
}

/**
 * The body is opened before this answers, so that what can't be had at all is refused and not cut off. Content that
 * isn't where the row says may have been moved or replaced since the row was read: the row is read again before it
 * counts as lost.
 */
export async function getObject(context: EngineContext, request: GetObjectRequest): Promise<ObjectRead> {
  const { found, body } = await openObject(context, request, checkReadPreconditions);
  return { ...found.head, body };
}

export interface FoundObject {
  readonly head: ObjectHead;
  readonly version: VersionRow;
  readonly content: OpenedContent;
}

type CheckPreconditions = (conditions: HeadObjectRequest['preconditions'], object: ConditionedObject) => void;

/** An object and its bytes, for GET and as the source of a copy. */
export async function openObject(
  context: EngineContext,
  request: GetObjectRequest,
  checkPreconditions: CheckPreconditions,
): Promise<{ readonly found: FoundObject; readonly body: AsyncIterable<Uint8Array> }> {
  for (let attempt = 1; ; attempt++) {
    const found = await findObject(context, request, checkPreconditions);
    const range = found.head.range ?? wholeOf(found.head.sizeBytes);
    try {
      const body = await openContent(context, found.content, {
        range,
        customerKey: request.customerKey,
        signal: request.signal,
      });
      return { found, body };
    } catch (error) {
      if (!mayHaveMoved(error) || attempt >= maxOpenAttempts) throw error;
      context.contents.forget(found.version.contentId);
      await context.sleep(attempt * 10, request.signal);
    }
  }
}

function wholeOf(sizeBytes: number): ByteRange | undefined {
  return sizeBytes === 0 ? undefined : { start: 0, end: sizeBytes - 1 };
}

/** @throws BackendError NoSuchKey, NoSuchVersion, PreconditionFailed, NotModified, InvalidRange, InvalidPart */
export async function findObject(
  context: EngineContext,
  request: HeadObjectRequest,
  checkPreconditions: CheckPreconditions,
): Promise<FoundObject> {
  checkKey(request.key);
  for (let attempt = 1; ; attempt++) {
    const { bucket, version } = await findVersion(context, request);
    checkPreconditions(request.preconditions, version);
    const content = await contentOf(context, version.contentId);
    if (content !== undefined) {
      const head = {
        ...headOf(request, version, content.row),
        ...(request.versionId === undefined
          ? expirationField(context, bucket.row, { key: request.key, row: version })
          : {}),
      };
      checkReaderKey(content.row.sse, request.customerKey);
      const versioned = versioningOf(bucket.row) !== 'Never';
      return { version, content, head: versioned ? { ...head, versionId: version.versionId } : head };
    }
    // Replaced, and its garbage collected, between the two reads.
    if (attempt >= maxOpenAttempts) {
      throw new Error(`the row of content ${Buffer.from(version.contentId).toString('hex')} is missing`);
    }
  }
}

function headOf(request: HeadObjectRequest, version: VersionRow, content: ContentRow): ObjectHead {
  const range = rangeOf(request, content);
  const checksum = checksumFor(request, content);
  return {
    key: request.key,
    sizeBytes: version.sizeBytes,
    etag: version.etag,
    lastModifiedMs: version.mtimeMs,
    metadata: content.metadata ?? { system: {}, user: {} },
    storageClass: version.storageClass,
    ...encryptionField(content.sse),
    ...(version.tags === undefined ? {} : { tags: version.tags }),
    ...(version.lock === undefined ? {} : { lock: version.lock }),
    ...(checksum === undefined ? {} : { checksum }),
    ...(content.parts === undefined ? {} : { partsCount: content.parts.length }),
    ...(content.parts === undefined || request.parts === undefined
      ? {}
      : { parts: partPage(content.parts, { ...request.parts, checksum }) }),
    ...(range === undefined ? {} : { range }),
  };
}

function rangeOf(request: HeadObjectRequest, content: ContentRow): ByteRange | undefined {
  if (request.partNumber !== undefined) return resolvePart(content, request.partNumber);
  return request.range === undefined ? undefined : resolveRange(request.range, content.sizeBytes);
}

/** A page of an object's parts. */
export function partPage(
  parts: readonly PartOfContent[],
  asked: { readonly after: number; readonly max: number; readonly checksum: Checksum | undefined },
): ObjectPart[] {
  const { after, max, checksum } = asked;
  return parts
    .filter(({ partNumber }) => partNumber > after)
    .slice(0, max)
    .map(({ partNumber, sizeBytes, checksum: raw }) => ({
      partNumber,
      sizeBytes,
      ...(checksum === undefined || raw === undefined
        ? {}
        : { checksum: { ...checksum, value: Buffer.from(raw).toString('base64') } }),
    }));
}

/** Of the part where one is asked for: clients compare it with the bytes that they get. */
function checksumFor(request: HeadObjectRequest, content: ContentRow): Checksum | undefined {
  if (request.partNumber === undefined || content.parts === undefined || content.checksum === undefined) {
    return content.checksum;
  }
  const raw = content.parts.find((part) => part.partNumber === request.partNumber)?.checksum;
  if (raw === undefined) return undefined;
  return { ...content.checksum, value: Buffer.from(raw).toString('base64') };
}
