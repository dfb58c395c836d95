import type {
  Bucket,
  Checksum,
  DecideOwnership,
  ObjectLock,
  ObjectMetadata,
  ObjectOwnership,
  ObjectWritten,
  Owner,
  Preconditions,
  PutObjectRequest,
  RequestOrigin,
  Tags,
} from '../backend.ts';
import { commit, CommitUnknownError } from './commit.ts';
import type { EngineContext } from './context.ts';
import { replaceCurrent, shownVersionId } from './current_version.ts';
import { expirationField } from './expiration.ts';
import { contentIdOf, mintId } from './ids.ts';
import { discard, ingestProtected, type IngestedContent } from './ingest.ts';
import type { ObjectEvent } from './object_changes.ts';
import { checkKey } from './object_keys.ts';
import { checkLockAsked } from './object_lock.ts';
import { checkWritePreconditions } from './preconditions.ts';
import { encryptionField, keyConditions, protectionOf } from './protection.ts';
import type { ContentRow } from './rows.ts';
import { storageClassOf } from './storage_classes.ts';
import { readTarget, type Target, type TargetName } from './targets.ts';

const defaultAlgorithm = 'CRC64NVME';

/** Content first, then the metadata that names it, in one batch. */
export async function putObject(context: EngineContext, request: PutObjectRequest): Promise<ObjectWritten> {
  checkKey(request.key);
  const storageClass = storageClassOf(context, request);
  const target = await readTarget(context, request);
  checkWritePreconditions(request.preconditions, target.current?.row);
  // What the bucket doesn't allow is refused before the body is asked for.
  ownershipOf(request, target.bucket.row);
  checkLockAsked(context, request.lock, target.bucket.row);
  const algorithm = request.body.checksum?.algorithm ?? defaultAlgorithm;
  const content = await ingestProtected(context, {
    contentId: contentIdOf(request.bucket, request.key, mintId(context)),
    body: request.body,
    algorithms: [algorithm],
    storageClass,
    protection: protectionOf(context, {
      name: request,
      asked: request.encryption,
      bucket: target.bucket.row,
      metadata: request.metadata,
    }),
    signal: request.signal,
  });
  const raw = content.checksums.get(algorithm);
  return commitContent(context, {
    ...request,
    event: 'ObjectCreated:Put',
    storageClass,
    target,
    content,
    ...(raw === undefined
      ? {}
      : { checksum: { algorithm, type: 'FULL_OBJECT', value: Buffer.from(raw).toString('base64') } }),
  });
}

/** Whose the object is to be, and its ACL. */
export function ownershipOf(
  request: { readonly owner: Owner; readonly ownership?: DecideOwnership },
  bucket: Bucket,
): ObjectOwnership {
  return request.ownership?.(bucket) ?? { owner: request.owner };
}

/** Content that is to become an object of one piece. */
interface ContentToName extends TargetName {
  readonly owner: Owner;
  readonly ownership?: DecideOwnership;
  readonly metadata: ObjectMetadata;
  readonly preconditions?: Preconditions;
  readonly tags?: Tags;
  readonly lock?: ObjectLock;
  readonly signal?: AbortSignal;
  readonly content: IngestedContent;
  readonly checksum?: Checksum;
  readonly storageClass: string;
  readonly origin?: RequestOrigin;
  readonly event: ObjectEvent;
  /** As read before the content came in: saves a read where nothing has changed since. */
  readonly target: Target;
}

/** What the content's row says of where its bytes are, and how. */
function placeOf(content: IngestedContent): Pick<ContentRow, 'locator' | 'sealed' | 'sse'> {
  const { written, sse } = content;
  return {
    locator: written.locator,
    ...(written.sealed === undefined ? {} : { sealed: written.sealed }),
    ...(sse === undefined ? {} : { sse }),
  };
}

/** Names the content in the metadata; content that can't be named is removed, unless the batch may yet apply. */
export async function commitContent(context: EngineContext, request: ContentToName): Promise<ObjectWritten> {
  const { content } = request;
  try {
    request.signal?.throwIfAborted();
    const written = await commit(context, async (round) => {
      const target = round === 0 ? request.target : await readTarget(context, request);
      checkWritePreconditions(request.preconditions, target.current?.row);
      const etag = Buffer.from(content.md5).toString('hex');
      const { conditions, operations, row, growth } = await replaceCurrent(context, target, {
        contentId: content.contentId,
        sizeBytes: content.sizeBytes,
        etag,
        ...ownershipOf(request, target.bucket.row),
        metadata: request.metadata,
        storageClass: request.storageClass,
        place: placeOf(content),
        tags: request.tags,
        lock: request.lock,
        ...(request.checksum === undefined ? {} : { checksum: request.checksum }),
      });
      return {
        conditions: [...conditions, ...(await keyConditions(context, content.written, round))],
        contentConditions: content.written.conditions,
        operations: [...operations, ...content.written.operations],
        changes: [
          {
            event: request.event,
            bucket: target.bucket.row,
            key: request.key,
            made: { sizeBytes: content.sizeBytes, etag },
            atMs: row.mtimeMs,
            ...shownVersionId(row),
            growth,
            ...(request.origin === undefined ? {} : { origin: request.origin }),
          },
        ],
        result: {
          etag,
          lastModifiedMs: row.mtimeMs,
          ...shownVersionId(row),
          sizeBytes: content.sizeBytes,
          ...expirationField(context, target.bucket.row, { key: request.key, row }),
          ...encryptionField(content.sse),
          ...(request.checksum === undefined ? {} : { checksum: request.checksum }),
        },
      };
    });
    // Whoever writes often reads soon.
    context.contents.set(content.contentId, {
      sizeBytes: content.sizeBytes,
      ...placeOf(content),
      metadata: request.metadata,
      ...(request.checksum === undefined ? {} : { checksum: request.checksum }),
    });
    context.wakeGarbage();
    return written;
  } catch (error) {
    if (!(error instanceof CommitUnknownError)) await discard(context, content);
    throw error;
  }
}
