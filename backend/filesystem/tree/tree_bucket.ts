import type { FileHandle } from 'node:fs/promises';
import type * as api from '../../backend.ts';
import type { Operation } from '../../../s3db/database.ts';
import { commit } from '../../engine/commit.ts';
import {
  answersSame,
  assemble,
  checkOrder,
  chooseParts,
  completedRow,
  readCompleted,
  writtenOf,
} from '../../engine/complete_upload.ts';
import type { ChosenPart } from '../../engine/composite.ts';
import { openContent } from '../../engine/content_stream.ts';
import { checkReaderKey } from '../../engine/protection.ts';
import type { EngineContext } from '../../engine/context.ts';
import { partPage } from '../../engine/get_object.ts';
import { refuse } from '../../engine/context.ts';
import { contentIdOf, mintId } from '../../engine/ids.ts';
import { ingest, type IngestedContent } from '../../engine/ingest.ts';
import { checkKey } from '../../engine/object_keys.ts';
import { OwnedStream } from '../../engine/owned_stream.ts';
import {
  checkDeletePreconditions,
  checkReadPreconditions,
  checkWritePreconditions,
} from '../../engine/preconditions.ts';
import { resolvePart, resolveRange, type ByteRange } from '../../engine/ranges.ts';
import { encodeCompleted, type BucketRow } from '../../engine/rows.ts';
import { STATE_KEYS } from '../../engine/row_keys.ts';
import { readBucket, rowUnchanged } from '../../engine/targets.ts';
import { endUpload, findUpload, refuseUpload } from '../../engine/uploads.ts';
import { FactsCache, mtimeMsOf, sameStamp, stampOf, type FileFacts, type FileStamp } from './file_facts.ts';
import { HeldDirectory } from './held_directory.ts';
import { HiddenIndex } from './hidden_index.ts';
import { KeyLocks } from './key_locks.ts';
import { Staging, stagedName } from './staging.ts';
import { TreeFiles } from './tree_files.ts';
import { listTree, type TreeObject } from './tree_listing.ts';

const defaultAlgorithm = 'CRC64NVME';
const STANDARD = 'STANDARD';

/**
 * A bucket that is an existing directory. The tree is the truth: what others put there, change or remove shows at
 * once. Writers through this process are ordered key by key; other processes are not held off, but every file
 * appears whole. What an upload in flight needs is the engine's, under the bucket's row there.
 */
export class TreeBucket {
  readonly #context: EngineContext;
  readonly #files: TreeFiles;
  readonly #facts: FactsCache;
  readonly #hidden: HiddenIndex;
  readonly #staging: Staging;
  readonly #locks = new KeyLocks();

  private constructor(context: EngineContext, bucket: string, files: TreeFiles) {
    this.#context = context;
    this.#files = files;
    this.#facts = new FactsCache({ ...context, bucket });
    this.#hidden = new HiddenIndex(context.state, bucket);
    this.#staging = new Staging(files);
  }

  /** @param bucket name of a bucket that has its row in the engine, and the directory that is served as it. */
  static async open(
    context: EngineContext,
    bucket: { readonly name: string; readonly pathname: string },
  ): Promise<TreeBucket> {
    const tree = new TreeBucket(
      context,
      bucket.name,
      new TreeFiles(await HeldDirectory.open(bucket.pathname)),
    );
    try {
      await tree.#files.dropTemporary();
      const hidden = await tree.#files.hiddenDirectory();
      try {
        await tree.#hidden.rebuild(hidden);
      } finally {
        await hidden?.close();
      }
      return tree;
    } catch (error) {
      await tree.close();
      throw error;
    }
  }

  async headObject(request: api.HeadObjectRequest): Promise<api.ObjectHead> {
    const { file, head } = await this.#openForRead(request);
    await file.close();
    return head;
  }

  async getObject(request: api.GetObjectRequest): Promise<api.ObjectRead> {
    const { file, head, stamp } = await this.#openForRead(request);
    const range = head.range ?? { start: 0, end: head.sizeBytes - 1 };
    const bytes = readFile(file, { ...range, stamp, signal: request.signal });
    return { ...head, body: new OwnedStream(bytes, () => file.close()) };
  }

  async putObject(request: api.PutObjectRequest): Promise<api.ObjectWritten> {
    checkKey(request.key);
    await readBucket(this.#context, request);
    if (request.encryption !== undefined) refuseEncryption();
    await this.#checkWrite(request.key, request.preconditions);
    const algorithm = request.body.checksum?.algorithm ?? defaultAlgorithm;
    const content = await ingest(
      { checksums: this.#context.checksums, data: this.#staging },
      {
        contentId: contentIdOf(request.bucket, request.key, mintId(this.#context)),
        body: request.body,
        algorithms: [algorithm],
        signal: request.signal,
      },
    );
    const raw = content.checksums.get(algorithm);
    const facts: FileFacts = {
      etag: Buffer.from(content.md5).toString('hex'),
      metadata: request.metadata,
      ...(raw === undefined
        ? {}
        : { checksum: { algorithm, type: 'FULL_OBJECT', value: Buffer.from(raw).toString('base64') } }),
    };
    return this.#locks.run(request.key, () =>
      this.#orRemove(content.written.locator, async () => {
        request.signal?.throwIfAborted();
        await readBucket(this.#context, request);
        await this.#checkWrite(request.key, request.preconditions);
        const stamp = await this.#place({ key: request.key, locator: content.written.locator, facts });
        return writtenAnswer(facts, stamp);
      }),
    );
  }

  async deleteObject(request: api.DeleteObjectRequest): Promise<api.ObjectDeleted> {
    checkKey(request.key);
    const { versionId } = request;
    await readBucket(this.#context, request);
    if (versionId !== undefined && versionId !== 'null') return { versionId };
    await this.#locks.run(request.key, async () => {
      if (request.preconditions !== undefined) {
        const current = await this.#find(request.key);
        if (current === undefined) return;
        checkDeletePreconditions(request.preconditions, {
          ...conditioned(current),
          sizeBytes: current.stamp.sizeBytes,
        });
      }
      await this.#files.remove(request.key);
      await this.#hidden.remove(request.key);
      await this.#facts.forgetOthers(request.key);
    });
    return versionId === undefined ? {} : { versionId };
  }

  async listObjects(request: api.ListObjectsRequest): Promise<api.ObjectPage> {
    const { row } = await readBucket(this.#context, request);
    const page = await listTree({ files: this.#files, hidden: this.#hidden }, request, (key) =>
      this.#find(key),
    );
    return { ...page, objects: page.objects.map((object) => summaryOf(object, row)) };
  }

  async listObjectVersions(request: api.ListVersionsRequest): Promise<api.VersionPage> {
    const { keyMarker, ...rest } = request;
    const page = await this.listObjects({
      ...rest,
      ...(keyMarker === undefined ? {} : { startAfter: keyMarker }),
    });
    const last = page.objects.at(-1);
    return {
      versions: page.objects.map((object) => ({
        ...object,
        versionId: 'null',
        isLatest: true,
        deleteMarker: false,
      })),
      prefixes: page.prefixes,
      ...(page.next === undefined ? {} : { nextKeyMarker: page.next }),
      ...(page.next !== undefined && page.next === last?.key ? { nextVersionIdMarker: 'null' } : {}),
    };
  }

  /**
   * Puts the parts together in one file. The file takes its place before the upload ends: a crash between the two
   * leaves an upload that can be completed again. Abort waits its turn, so it never takes the parts away meanwhile.
   */
  async completeMultipartUpload(request: api.CompleteUploadRequest): Promise<api.ObjectWritten> {
    checkKey(request.key);
    checkOrder(request);
    return this.#locks.run(request.key, async () => {
      const { bucket, uploadId, upload } = await findUpload(this.#context, request);
      if (upload === undefined) {
        const before = await readCompleted(this.#context, uploadId);
        if (before === undefined || !answersSame(before, { request, bucketId: bucket.row.id }))
          refuseUpload(request);
        return writtenOf(before);
      }
      await this.#checkWrite(request.key, request.preconditions);
      const parts = await chooseParts(this.#context, { request, uploadId, upload: upload.row });
      const object = assemble(this.#context, { request, upload, parts });
      const content = await this.#join(request, { parts, sizeBytes: object.sizeBytes });
      const facts: FileFacts = {
        etag: object.etag,
        checksum: object.checksum,
        metadata: upload.row.metadata,
        parts: partsOf(parts),
      };
      const { locator } = content.written;
      const stamp = await this.#orRemove(locator, () => this.#place({ key: request.key, locator, facts }));
      const completed = completedRow(request, { bucket: bucket.row, object, mtimeMs: mtimeMsOf(stamp) });
      await commit(this.#context, async () => {
        const operations: Operation[] = [
          ...endUpload({ upload, uploadId }),
          {
            type: 'put',
            table: 'state',
            key: STATE_KEYS.completed(uploadId),
            value: encodeCompleted(completed),
          },
        ];
        return {
          conditions: [rowUnchanged('multipart', upload.key, upload)],
          operations,
          result: undefined,
        };
      });
      this.#context.wakeGarbage();
      return writtenOf(completed);
    });
  }

  /** Runs what would end an upload of the key when no Complete of the key is under way. */
  async between<Result>(key: string, work: () => Promise<Result>): Promise<Result> {
    return this.#locks.run(key, work);
  }

  async close(): Promise<void> {
    await this.#files.close();
  }

  async #openForRead(
    request: api.HeadObjectRequest,
  ): Promise<{ readonly file: FileHandle; readonly stamp: FileStamp; readonly head: api.ObjectHead }> {
    checkKey(request.key);
    await readBucket(this.#context, request);
    if (request.versionId !== undefined && request.versionId !== 'null') refuseVersion(request.versionId);
    const opened = await this.#files.open(request.key);
    if (opened === undefined) {
      if (request.versionId !== undefined) refuseVersion(request.versionId);
      refuse('NoSuchKey', 'The specified key does not exist.', { Key: request.key });
    }
    try {
      const object = await this.#facts.of(request.key, opened.file);
      if (!object.known) await this.#forgetEarlier(request.key);
      checkReadPreconditions(request.preconditions, conditioned(object));
      const head = headOf(request, object);
      checkReaderKey(undefined, request.customerKey);
      return { file: opened.file, stamp: object.stamp, head };
    } catch (error) {
      await opened.file.close();
      throw error;
    }
  }

  async #find(key: string): Promise<TreeObject | undefined> {
    return this.#withFile(key, async (file) => ({ key, ...(await this.#facts.of(key, file)) }));
  }

  async #findStamp(key: string): Promise<FileStamp | undefined> {
    return this.#withFile(key, stampOf);
  }

  async #withFile<Result>(
    key: string,
    look: (file: FileHandle) => Promise<Result>,
  ): Promise<Result | undefined> {
    const opened = await this.#files.open(key);
    if (opened === undefined) return undefined;
    try {
      return await look(opened.file);
    } finally {
      await opened.file.close();
    }
  }

  /** Others changed the file: what was said of its earlier states is of no use. A writer's row waits its turn. */
  async #forgetEarlier(key: string): Promise<void> {
    await this.#locks.run(key, async () => this.#facts.forgetOthers(key, await this.#findStamp(key)));
  }

  /** A file that nothing was asked about isn't read for its ETag. */
  async #checkWrite(key: string, preconditions: api.Preconditions | undefined): Promise<void> {
    if (preconditions !== undefined)
      checkWritePreconditions(preconditions, conditioned(await this.#find(key)));
  }

  /** Gives the staged file its place. What is said of it is there before it is. */
  async #place(object: {
    readonly key: string;
    readonly locator: Uint8Array;
    readonly facts: FileFacts;
  }): Promise<FileStamp> {
    const { key, facts } = object;
    const name = stagedName(object.locator);
    const stamp = await this.#files.stampStaged(name, await this.#findStamp(key));
    await this.#facts.remember(key, stamp, facts);
    if ((await this.#files.place(name, key)) === 'plain') {
      await this.#files.removeHidden(key);
      await this.#hidden.remove(key);
    } else {
      await this.#hidden.add(key);
    }
    await this.#facts.forgetOthers(key, stamp);
    return stamp;
  }

  async #orRemove<Result>(locator: Uint8Array, work: () => Promise<Result>): Promise<Result> {
    try {
      return await work();
    } catch (error) {
      await this.#staging.remove(locator);
      throw error;
    }
  }

  async #join(
    request: api.CompleteUploadRequest,
    object: { readonly parts: readonly ChosenPart[]; readonly sizeBytes: number },
  ): Promise<Pick<IngestedContent, 'written'>> {
    const range = object.sizeBytes === 0 ? undefined : { start: 0, end: object.sizeBytes - 1 };
    const stream = await openContent(
      this.#context,
      {
        contentId: new Uint8Array(0),
        row: { sizeBytes: object.sizeBytes, parts: partsOf(object.parts) },
      },
      { range, signal: request.signal },
    );
    const written = await this.#staging.write(
      contentIdOf(request.bucket, request.key, mintId(this.#context)),
      stream,
      request.signal === undefined ? {} : { signal: request.signal },
    );
    if (written.sizeBytes !== object.sizeBytes)
      throw new Error('the parts are not as long as their rows say');
    return { written };
  }
}

function conditioned(object: Pick<TreeObject, 'facts' | 'stamp'>): { etag: string; mtimeMs: number };
function conditioned(
  object: Pick<TreeObject, 'facts' | 'stamp'> | undefined,
): { etag: string; mtimeMs: number } | undefined;
function conditioned(
  object: Pick<TreeObject, 'facts' | 'stamp'> | undefined,
): { etag: string; mtimeMs: number } | undefined {
  return object === undefined ? undefined : { etag: object.facts.etag, mtimeMs: mtimeMsOf(object.stamp) };
}

function headOf(request: api.HeadObjectRequest, object: Pick<TreeObject, 'facts' | 'stamp'>): api.ObjectHead {
  const { facts, stamp } = object;
  const content = {
    sizeBytes: stamp.sizeBytes,
    ...(facts.parts === undefined ? {} : { parts: facts.parts }),
  };
  const range = rangeOf(request, content);
  const part = facts.parts?.find(({ partNumber }) => partNumber === request.partNumber);
  const checksum =
    part?.checksum === undefined || facts.checksum === undefined
      ? facts.checksum
      : { ...facts.checksum, value: Buffer.from(part.checksum).toString('base64') };
  return {
    key: request.key,
    sizeBytes: stamp.sizeBytes,
    etag: facts.etag,
    lastModifiedMs: mtimeMsOf(stamp),
    metadata: facts.metadata,
    storageClass: STANDARD,
    ...(checksum === undefined ? {} : { checksum }),
    ...(facts.parts === undefined ? {} : { partsCount: facts.parts.length }),
    ...(facts.parts === undefined || request.parts === undefined
      ? {}
      : { parts: partPage(facts.parts, { ...request.parts, checksum: facts.checksum }) }),
    ...(range === undefined ? {} : { range }),
  };
}

function rangeOf(
  request: api.HeadObjectRequest,
  content: Parameters<typeof resolvePart>[0],
): ByteRange | undefined {
  if (request.partNumber !== undefined) return resolvePart(content, request.partNumber);
  return request.range === undefined ? undefined : resolveRange(request.range, content.sizeBytes);
}

function summaryOf(object: TreeObject, bucket: BucketRow): api.ObjectSummary {
  const { facts, stamp } = object;
  return {
    key: object.key,
    sizeBytes: stamp.sizeBytes,
    etag: facts.etag,
    lastModifiedMs: mtimeMsOf(stamp),
    owner: bucket.owner,
    storageClass: STANDARD,
    ...(facts.checksum === undefined
      ? {}
      : { checksum: { algorithm: facts.checksum.algorithm, type: facts.checksum.type } }),
  };
}

function writtenAnswer(facts: FileFacts, stamp: FileStamp): api.ObjectWritten {
  return {
    etag: facts.etag,
    lastModifiedMs: mtimeMsOf(stamp),
    sizeBytes: stamp.sizeBytes,
    ...(facts.checksum === undefined ? {} : { checksum: facts.checksum }),
  };
}

function partsOf(parts: readonly ChosenPart[]): NonNullable<FileFacts['parts']> {
  return parts.map(({ row, partNumber }) => ({
    contentId: row.contentId,
    sizeBytes: row.sizeBytes,
    checksum: row.checksum,
    partNumber,
  }));
}

function refuseVersion(versionId: string): never {
  return refuse('NoSuchVersion', 'The specified version does not exist.', { VersionId: versionId });
}

/** The bytes of a range; throws at the end if the file was changed while it was read. */
async function* readFile(
  file: FileHandle,
  options: ByteRange & { readonly stamp: FileStamp; readonly signal: AbortSignal | undefined },
): AsyncGenerator<Uint8Array> {
  const readBytes = 1024 * 1024;
  for (let at = options.start; at <= options.end;) {
    options.signal?.throwIfAborted();
    const buffer = Buffer.allocUnsafe(Math.min(readBytes, options.end - at + 1));
    const { bytesRead } = await file.read(buffer, 0, buffer.length, at);
    if (bytesRead === 0) throw new Error('the file was shortened while it was read');
    at += bytesRead;
    // The last bytes wait until it is known that all of them are of one state of the file.
    if (at > options.end && !sameStamp(options.stamp, await stampOf(file))) {
      throw new Error('the file was changed while it was read');
    }
    yield buffer.subarray(0, bytesRead);
  }
}

/** The files of a served directory are what they are; nothing is stored in another form than it came. */
export function refuseEncryption(): never {
  return refuse('NotImplemented', 'Objects of a bucket that serves a directory can not be encrypted.');
}
