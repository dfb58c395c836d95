import { createHash, randomUUID } from 'node:crypto';
import type {
  Authorize,
  Backend,
  Bucket,
  BucketInfo,
  BucketRequest,
  BucketSetting,
  DecideOwnership,
  ExistingObject,
  HeadObjectRequest,
  IncomingBody,
  ObjectAclUpdated,
  ObjectHead,
  ObjectMetadata,
  ObjectPage,
  ObjectOwnership,
  ObjectRead,
  ObjectSource,
  ObjectSummary,
  ObjectWritten,
  Owner,
  PartWritten,
  Preconditions,
  UpdateBucketSettingsRequest,
  ObjectUpdated,
  UpdateObjectAclRequest,
  UpdateObjectRequest,
  UploadRequest,
} from '../../backend/backend.ts';
import type { Checksum } from '../../backend/backend.ts';
import { Checksums } from '../../backend/checksums/checksums.ts';
import { BackendError } from '../../backend/errors.ts';

interface StoredObject {
  readonly bytes: Buffer;
  readonly etag: string;
  readonly lastModifiedMs: number;
  readonly metadata: ObjectMetadata;
  readonly checksum: Checksum;
  readonly owner: Owner;
  readonly acl?: string;
}

interface StoredBucket extends Bucket {
  readonly settings: Map<BucketSetting, string>;
  readonly objects: Map<string, StoredObject>;
}

interface StoredUpload {
  readonly bucket: string;
  readonly key: string;
  readonly owner: Owner;
  readonly initiator: Owner;
  readonly acl?: string;
  readonly metadata: ObjectMetadata;
  readonly parts: Map<number, StoredObject>;
}

/**
 * A Backend in memory for the tests of the HTTP layer: unversioned, small, and with a hook before every call. It keeps
 * what the tests look at and nothing else; the real engine has tests of its own.
 */
export class MemoryBackend implements Backend {
  readonly type = 'filesystem';
  readonly buckets = new Map<string, StoredBucket>();
  readonly uploads = new Map<string, StoredUpload>();
  /** The requests as they came, newest last. */
  readonly calls: { readonly name: string; readonly request: unknown }[] = [];
  /** Runs before every call, after it was noted; may throw or wait. */
  before: (name: string, request: unknown) => unknown = () => undefined;
  nowMs = Date.UTC(2026, 0, 2, 3, 4, 5);
  readonly #checksums = Checksums.load();

  addBucket(name: string, options: { owner: Owner; public?: boolean }): void {
    this.buckets.set(name, {
      name,
      owner: options.owner,
      createdMs: this.nowMs,
      region: 'ap-southeast-2',
      public: options.public ?? false,
      settings: new Map(),
      objects: new Map(),
    });
  }

  async #begin(name: string, request: object): Promise<void> {
    this.calls.push({ name, request });
    await this.before(name, request);
  }

  #bucket(name: string, authorize: Authorize, key?: string): Map<string, StoredObject> {
    const bucket = this.buckets.get(name);
    if (bucket === undefined) throw new BackendError('NoSuchBucket', 'The specified bucket does not exist');
    const object = key === undefined ? undefined : bucket.objects.get(key);
    authorize(bucket, object === undefined || key === undefined ? undefined : existing(key, object));
    return bucket.objects;
  }

  async #read(body: IncomingBody): Promise<{ bytes: Buffer; md5: Buffer; checksum: Checksum }> {
    const pieces: Uint8Array[] = [];
    for await (const piece of body.stream) pieces.push(Buffer.from(piece));
    const bytes = Buffer.concat(pieces);
    const md5 = createHash('md5').update(bytes).digest();
    if (body.sizeBytes !== undefined && body.sizeBytes !== bytes.length) {
      throw new BackendError('IncompleteBody', '');
    }
    if (body.contentMd5 !== undefined && !md5.equals(body.contentMd5))
      throw new BackendError('BadDigest', '');
    const summer = (await this.#checksums).create(body.checksum?.algorithm ?? 'CRC64NVME');
    summer.update(bytes);
    const value = Buffer.from(summer.digest()).toString('base64');
    const expected = body.checksum?.value();
    if (expected !== undefined && expected !== value) throw new BackendError('BadDigest', '');
    return { bytes, md5, checksum: { algorithm: summer.algorithm, type: 'FULL_OBJECT', value } };
  }

  #object(objects: Map<string, StoredObject>, key: string): StoredObject {
    const object = objects.get(key);
    if (object === undefined)
      throw new BackendError('NoSuchKey', 'The specified key does not exist.', { Key: key });
    return object;
  }

  #check(preconditions: Preconditions | undefined, object: StoredObject | undefined, write: boolean): void {
    const { ifMatch, ifNoneMatch, ifModifiedSinceMs } = preconditions ?? {};
    if (ifMatch !== undefined) {
      if (object === undefined) throw new BackendError('NoSuchKey', '');
      if (!ifMatch.includes('*') && !ifMatch.includes(object.etag))
        throw new BackendError('PreconditionFailed', '');
    }
    if (object !== undefined && ifNoneMatch?.some((tag) => tag === '*' || tag === object.etag) === true) {
      const details = { etag: object.etag, lastModified: String(object.lastModifiedMs) };
      throw write ? new BackendError('PreconditionFailed', '') : new BackendError('NotModified', '', details);
    }
    if (
      ifModifiedSinceMs !== undefined &&
      object !== undefined &&
      object.lastModifiedMs <= ifModifiedSinceMs
    ) {
      throw new BackendError('NotModified', '', { etag: object.etag });
    }
  }

  async listBuckets(request: Parameters<Backend['listBuckets']>[0]): ReturnType<Backend['listBuckets']> {
    await this.#begin('listBuckets', request);
    return { buckets: [...this.buckets.values()].filter((bucket) => bucket.owner.id === request.owner.id) };
  }

  async createBucket(request: Parameters<Backend['createBucket']>[0]): Promise<BucketInfo> {
    await this.#begin('createBucket', request);
    const existing = this.buckets.get(request.bucket);
    if (existing !== undefined) {
      const own = existing.owner.id === request.owner.id;
      throw new BackendError(own ? 'BucketAlreadyOwnedByYou' : 'BucketAlreadyExists', '');
    }
    this.addBucket(request.bucket, { owner: request.owner });
    return this.headBucket({ bucket: request.bucket, authorize: () => undefined });
  }

  async headBucket(request: BucketRequest): Promise<Bucket> {
    await this.#begin('headBucket', request);
    this.#bucket(request.bucket, request.authorize);
    return this.buckets.get(request.bucket) as Bucket;
  }

  async updateBucketSettings(request: UpdateBucketSettingsRequest): Promise<void> {
    await this.#begin('updateBucketSettings', request);
    this.#bucket(request.bucket, request.authorize);
    const bucket = this.buckets.get(request.bucket) as StoredBucket;
    for (const [name, text] of Object.entries(request.change(bucket)) as [
      BucketSetting,
      string | undefined,
    ][]) {
      if (text === undefined) bucket.settings.delete(name);
      else bucket.settings.set(name, text);
    }
  }

  async deleteBucket(request: BucketRequest): Promise<void> {
    await this.#begin('deleteBucket', request);
    if (this.#bucket(request.bucket, request.authorize).size > 0)
      throw new BackendError('BucketNotEmpty', '');
    this.buckets.delete(request.bucket);
  }

  async putObject(request: Parameters<Backend['putObject']>[0]): Promise<ObjectWritten> {
    await this.#begin('putObject', request);
    const objects = this.#bucket(request.bucket, request.authorize, request.key);
    this.#check(request.preconditions, objects.get(request.key), true);
    const { bytes, md5, checksum } = await this.#read(request.body);
    const etag = md5.toString('hex');
    objects.set(request.key, {
      bytes,
      etag,
      lastModifiedMs: this.nowMs,
      metadata: request.metadata,
      checksum,
      ...this.#ownership(request),
    });
    return { etag, lastModifiedMs: this.nowMs, checksum, sizeBytes: bytes.length };
  }

  async headObject(request: HeadObjectRequest): Promise<ObjectHead> {
    await this.#begin('headObject', request);
    return this.#find(request).head;
  }

  async getObject(request: HeadObjectRequest): Promise<ObjectRead> {
    await this.#begin('getObject', request);
    const { head, object } = this.#find(request);
    const bytes =
      head.range === undefined ? object.bytes : object.bytes.subarray(head.range.start, head.range.end + 1);
    return { ...head, body: slices(bytes) };
  }

  #find(request: HeadObjectRequest): { head: ObjectHead; object: StoredObject } {
    const object = this.#object(this.#bucket(request.bucket, request.authorize, request.key), request.key);
    this.#check(request.preconditions, object, false);
    const sizeBytes = object.bytes.length;
    const head: ObjectHead = { key: request.key, sizeBytes, storageClass: 'STANDARD', ...object };
    // Every object here has one part.
    const wanted = request.range ?? (request.partNumber === undefined ? undefined : { start: 0 });
    if (wanted === undefined) return { head, object };
    const start = 'suffix' in wanted ? Math.max(0, sizeBytes - wanted.suffix) : wanted.start;
    const end = Math.min(sizeBytes - 1, 'suffix' in wanted ? sizeBytes - 1 : (wanted.end ?? sizeBytes - 1));
    if (start > end || ('suffix' in wanted && wanted.suffix === 0)) {
      throw new BackendError('InvalidRange', '', { ActualObjectSize: String(sizeBytes) });
    }
    return { head: { ...head, range: { start, end } }, object };
  }

  async deleteObject(request: Parameters<Backend['deleteObject']>[0]): ReturnType<Backend['deleteObject']> {
    await this.#begin('deleteObject', request);
    const objects = this.#bucket(request.bucket, request.authorize, request.key);
    this.#check(request.preconditions, objects.get(request.key), true);
    objects.delete(request.key);
    return {};
  }

  async copyObject(request: Parameters<Backend['copyObject']>[0]): Promise<ObjectWritten> {
    await this.#begin('copyObject', request);
    const source = this.#source(request.source);
    const objects = this.#bucket(request.bucket, request.authorize, request.key);
    const { acl: _, ...copied } = source;
    const metadata = request.metadata ?? source.metadata;
    objects.set(request.key, { ...copied, metadata, ...this.#ownership(request) });
    return { ...source, sizeBytes: source.bytes.length };
  }

  async updateObjectAcl(request: UpdateObjectAclRequest): Promise<ObjectAclUpdated> {
    await this.#begin('updateObjectAcl', request);
    const { key } = request;
    const objects = this.#bucket(request.bucket, request.authorize, key);
    const { acl: _, ...object } = this.#object(objects, key);
    const bucket = this.buckets.get(request.bucket) as StoredBucket;
    const acl = request.change(bucket, existing(key, this.#object(objects, key)));
    objects.set(key, { ...object, ...(acl === undefined ? {} : { acl }) });
    return {};
  }

  async updateObject(request: UpdateObjectRequest): Promise<ObjectUpdated> {
    await this.#begin('updateObject', request);
    const objects = this.#bucket(request.bucket, request.authorize, request.key);
    this.#object(objects, request.key);
    return {};
  }

  #ownership(request: {
    readonly bucket: string;
    readonly owner: Owner;
    readonly ownership?: DecideOwnership;
  }): ObjectOwnership {
    const bucket = this.buckets.get(request.bucket) as StoredBucket;
    return request.ownership?.(bucket) ?? { owner: request.owner };
  }

  #source(source: ObjectSource): StoredObject {
    const object = this.#object(this.#bucket(source.bucket, source.authorize, source.key), source.key);
    this.#check(source.preconditions, object, false);
    return object;
  }

  async listObjects(request: Parameters<Backend['listObjects']>[0]): Promise<ObjectPage> {
    await this.#begin('listObjects', request);
    const objects = this.#bucket(request.bucket, request.authorize);
    const page: { objects: ObjectSummary[]; prefixes: string[]; next?: string } = {
      objects: [],
      prefixes: [],
    };
    const keys = [...objects.keys()].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    let last = request.startAfter ?? '';
    for (const key of keys) {
      if (!key.startsWith(request.prefix)) continue;
      const cut =
        request.delimiter === undefined ? -1 : key.indexOf(request.delimiter, request.prefix.length);
      const item = cut < 0 ? key : key.slice(0, cut + (request.delimiter ?? '').length);
      if (Buffer.compare(Buffer.from(item), Buffer.from(last)) <= 0) continue;
      if (page.objects.length + page.prefixes.length === request.maxKeys) return { ...page, next: last };
      last = item;
      if (cut >= 0) page.prefixes.push(item);
      else {
        const { bytes, ...object } = this.#object(objects, key);
        page.objects.push({ key, storageClass: 'STANDARD', sizeBytes: bytes.length, ...object });
      }
    }
    return page;
  }

  async listObjectVersions(
    request: Parameters<Backend['listObjectVersions']>[0],
  ): ReturnType<Backend['listObjectVersions']> {
    await this.#begin('listObjectVersions', request);
    const page = await this.listObjects({
      bucket: request.bucket,
      authorize: request.authorize,
      prefix: request.prefix,
      maxKeys: request.maxKeys,
    });
    return {
      versions: page.objects.map((object) => ({
        ...object,
        versionId: 'null',
        isLatest: true,
        deleteMarker: false,
      })),
      prefixes: page.prefixes,
      ...(page.next === undefined ? {} : { nextKeyMarker: page.next, nextVersionIdMarker: 'null' }),
    };
  }

  async createMultipartUpload(
    request: Parameters<Backend['createMultipartUpload']>[0],
  ): ReturnType<Backend['createMultipartUpload']> {
    await this.#begin('createMultipartUpload', request);
    this.#bucket(request.bucket, request.authorize);
    const uploadId = randomUUID();
    this.uploads.set(uploadId, {
      ...request,
      initiator: request.owner,
      ...this.#ownership(request),
      parts: new Map(),
    });
    const { checksum } = request;
    return {
      uploadId,
      ...(checksum === undefined ? {} : { checksum: { type: 'FULL_OBJECT', ...checksum } }),
    };
  }

  #upload(request: UploadRequest): StoredUpload {
    this.#bucket(request.bucket, request.authorize);
    const upload = this.uploads.get(request.uploadId);
    if (upload?.key !== request.key) throw new BackendError('NoSuchUpload', '');
    return upload;
  }

  async uploadPart(request: Parameters<Backend['uploadPart']>[0]): Promise<PartWritten> {
    await this.#begin('uploadPart', request);
    const { parts, metadata, owner } = this.#upload(request);
    const { bytes, md5, checksum } = await this.#read(request.body);
    const part = { bytes, etag: md5.toString('hex'), lastModifiedMs: this.nowMs, metadata, checksum, owner };
    parts.set(request.partNumber, part);
    return part;
  }

  async uploadPartCopy(request: Parameters<Backend['uploadPartCopy']>[0]): Promise<PartWritten> {
    await this.#begin('uploadPartCopy', request);
    const { parts } = this.#upload(request);
    const source = this.#source(request.source);
    const { range } = request;
    const bytes = range === undefined ? source.bytes : source.bytes.subarray(range.start, range.end + 1);
    const part = { ...source, bytes, etag: createHash('md5').update(bytes).digest('hex') };
    parts.set(request.partNumber, part);
    return part;
  }

  async listParts(request: Parameters<Backend['listParts']>[0]): ReturnType<Backend['listParts']> {
    await this.#begin('listParts', request);
    const upload = this.#upload(request);
    const numbers = [...upload.parts.keys()]
      .sort((a, b) => a - b)
      .filter((n) => n > request.partNumberMarker);
    const shown = numbers.slice(0, request.maxParts);
    const parts = shown.map((partNumber) => {
      const { bytes, ...part } = this.#object(
        upload.parts as unknown as Map<string, StoredObject>,
        partNumber as never,
      );
      return { partNumber, sizeBytes: bytes.length, ...part };
    });
    const next = shown.at(-1);
    return {
      parts,
      owner: upload.owner,
      initiator: upload.initiator,
      storageClass: 'STANDARD',
      ...(numbers.length > shown.length && next !== undefined ? { next } : {}),
    };
  }

  async completeMultipartUpload(
    request: Parameters<Backend['completeMultipartUpload']>[0],
  ): Promise<ObjectWritten> {
    await this.#begin('completeMultipartUpload', request);
    const upload = this.#upload(request);
    const parts = request.parts.map(({ partNumber, etag }) => {
      const part = upload.parts.get(partNumber);
      if (part?.etag !== etag) throw new BackendError('InvalidPart', '');
      return part;
    });
    const bytes = Buffer.concat(parts.map((part) => part.bytes));
    const digests = Buffer.concat(parts.map((part) => Buffer.from(part.etag, 'hex')));
    const etag = `${createHash('md5').update(digests).digest('hex')}-${parts.length}`;
    const summer = (await this.#checksums).create('CRC64NVME');
    summer.update(bytes);
    const value = Buffer.from(summer.digest()).toString('base64');
    const checksum: Checksum = { algorithm: 'CRC64NVME', type: 'FULL_OBJECT', value };
    const { metadata, owner, acl } = upload;
    const object = {
      ...{ bytes, etag, lastModifiedMs: this.nowMs, metadata, checksum, owner },
      ...(acl === undefined ? {} : { acl }),
    };
    this.#bucket(request.bucket, request.authorize).set(request.key, object);
    this.uploads.delete(request.uploadId);
    return { etag, lastModifiedMs: this.nowMs, checksum, sizeBytes: bytes.length };
  }

  async abortMultipartUpload(request: UploadRequest): Promise<void> {
    await this.#begin('abortMultipartUpload', request);
    this.#upload(request);
    this.uploads.delete(request.uploadId);
  }

  async listMultipartUploads(
    request: Parameters<Backend['listMultipartUploads']>[0],
  ): ReturnType<Backend['listMultipartUploads']> {
    await this.#begin('listMultipartUploads', request);
    this.#bucket(request.bucket, request.authorize);
    const uploads = [...this.uploads].map(([uploadId, upload]) => ({
      key: upload.key,
      uploadId,
      initiatedMs: this.nowMs,
      owner: upload.owner,
      initiator: upload.initiator,
      storageClass: 'STANDARD',
    }));
    return { uploads, prefixes: [] };
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

function existing(key: string, { owner, acl }: StoredObject): ExistingObject {
  return { key, owner, versionId: 'null', ...(acl === undefined ? {} : { acl }) };
}

async function* slices(bytes: Buffer): AsyncGenerator<Uint8Array> {
  const sliceBytes = 256 * 1024;
  for (let at = 0; at < bytes.length; at += sliceBytes) yield bytes.subarray(at, at + sliceBytes);
}
