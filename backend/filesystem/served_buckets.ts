import type * as api from '../backend.ts';
import { BackendError } from '../errors.ts';
import type { EngineContext } from '../engine/context.ts';
import { refuse } from '../engine/context.ts';
import type { Engine } from '../engine/engine.ts';
import { ingestFrom, refuseOntoItself, sourceRequest } from '../engine/copy_object.ts';
import { readBucket } from '../engine/targets.ts';
import { translateErrors } from '../engine/translate_errors.ts';
import { translateFileErrors } from './tree/file_errors.ts';
import { refuseEncryption, type TreeBucket } from './tree/tree_bucket.ts';

/** Settings that work through the engine's rows, which objects of these buckets don't have. */
const ofEngineAlone = [
  'encryption',
  'lifecycle',
  'notification',
  'object-lock',
  'quota',
  'versioning',
] as const;

function refuseHere(feature: string): never {
  return refuse('NotImplemented', `A bucket that serves a directory has no ${feature}.`);
}

/**
 * The engine, with some of its buckets served from directories: their bucket rows and uploads are the engine's,
 * their objects are files.
 */
export class ServedBuckets implements Engine {
  readonly type = 'filesystem';
  readonly #engine: Engine;
  readonly #context: EngineContext;
  readonly #trees: ReadonlyMap<string, TreeBucket>;

  constructor(engine: Engine, context: EngineContext, trees: ReadonlyMap<string, TreeBucket>) {
    this.#engine = engine;
    this.#context = context;
    this.#trees = trees;
  }

  listBuckets(request: api.ListBucketsRequest): Promise<api.BucketPage> {
    return this.#engine.listBuckets(request);
  }
  createBucket(request: api.CreateBucketRequest): Promise<api.BucketInfo> {
    return this.#engine.createBucket(request);
  }
  headBucket(request: api.BucketRequest): Promise<api.Bucket> {
    return this.#engine.headBucket(request);
  }
  updateBucketSettings(request: api.UpdateBucketSettingsRequest): Promise<void> {
    if (!this.#trees.has(request.bucket)) return this.#engine.updateBucketSettings(request);
    return this.#engine.updateBucketSettings({
      ...request,
      change: (bucket) => {
        const changes = request.change(bucket);
        for (const name of ofEngineAlone) if (changes[name] !== undefined) refuseHere(name);
        return changes;
      },
    });
  }

  async deleteBucket(request: api.BucketRequest): Promise<void> {
    if (!this.#trees.has(request.bucket)) return this.#engine.deleteBucket(request);
    await this.#engine.headBucket(request);
    return refuse('MethodNotAllowed', 'This bucket is part of the configuration and can not be deleted.');
  }

  async putObject(request: api.PutObjectRequest): Promise<api.ObjectWritten> {
    this.#checkFeatures(request);
    return this.#on(request, (objects) => objects.putObject(this.#withoutAcl(request)));
  }
  getObject(request: api.GetObjectRequest): Promise<api.ObjectRead> {
    return this.#on(request, (objects) => objects.getObject(request));
  }
  headObject(request: api.HeadObjectRequest): Promise<api.ObjectHead> {
    return this.#on(request, (objects) => objects.headObject(request));
  }
  deleteObject(request: api.DeleteObjectRequest): Promise<api.ObjectDeleted> {
    return this.#on(request, (objects) => objects.deleteObject(request));
  }
  listObjects(request: api.ListObjectsRequest): Promise<api.ObjectPage> {
    return this.#on(request, (objects) => objects.listObjects(request));
  }
  listObjectVersions(request: api.ListVersionsRequest): Promise<api.VersionPage> {
    return this.#on(request, (objects) => objects.listObjectVersions(request));
  }

  async copyObject(request: api.CopyObjectRequest): Promise<api.ObjectWritten> {
    const { source } = request;
    if (!this.#trees.has(source.bucket) && !this.#trees.has(request.bucket))
      return this.#engine.copyObject(request);
    refuseOntoItself(request);
    await this.#run(() => readBucket(this.#context, request));
    const read = await this.#openSource(source, request.signal);
    const algorithm = request.checksumAlgorithm ?? read.checksum?.algorithm ?? 'CRC64NVME';
    return ingestFrom(read.body, (stream) =>
      this.putObject({
        ...request,
        metadata: request.metadata ?? read.metadata,
        body: { stream, sizeBytes: read.sizeBytes, checksum: { algorithm, value: () => undefined } },
      }),
    );
  }

  async updateObjectAcl(request: api.UpdateObjectAclRequest): Promise<api.ObjectAclUpdated> {
    if (!this.#trees.has(request.bucket)) return this.#engine.updateObjectAcl(request);
    await this.#engine.headBucket(request);
    return refuseAcl();
  }

  async updateObject(request: api.UpdateObjectRequest): Promise<api.ObjectUpdated> {
    if (!this.#trees.has(request.bucket)) return this.#engine.updateObject(request);
    await this.#engine.headBucket(request);
    return refuseHere('tags or locks of objects');
  }

  async createMultipartUpload(request: api.CreateUploadRequest): Promise<api.UploadCreated> {
    this.#checkFeatures(request);
    if (request.encryption !== undefined && this.#trees.has(request.bucket)) refuseEncryption();
    return this.#engine.createMultipartUpload(this.#withoutAcl(request));
  }
  uploadPart(request: api.UploadPartRequest): Promise<api.PartWritten> {
    return this.#engine.uploadPart(request);
  }

  async uploadPartCopy(request: api.UploadPartCopyRequest): Promise<api.PartWritten> {
    const { source, range } = request;
    if (!this.#trees.has(source.bucket)) return this.#engine.uploadPartCopy(request);
    await this.#engine.listParts({ ...request, partNumberMarker: 0, maxParts: 0 });
    const { sizeBytes } = await this.#headSource(source, request.signal);
    if (range !== undefined && (range.start > range.end || range.end >= sizeBytes)) {
      refuse('InvalidRange', `Range specified is not valid for source object of size: ${sizeBytes}`);
    }
    const read = await this.#openSource(source, request.signal, range);
    const lengthBytes = read.range === undefined ? read.sizeBytes : read.range.end - read.range.start + 1;
    return ingestFrom(read.body, (stream) =>
      this.#engine.uploadPart({ ...request, body: { stream, sizeBytes: lengthBytes } }),
    );
  }

  listParts(request: api.ListPartsRequest): Promise<api.PartPage> {
    return this.#engine.listParts(request);
  }
  completeMultipartUpload(request: api.CompleteUploadRequest): Promise<api.ObjectWritten> {
    return this.#on(request, (objects) => objects.completeMultipartUpload(request));
  }
  abortMultipartUpload(request: api.UploadRequest): Promise<void> {
    const tree = this.#trees.get(request.bucket);
    const abort = (): Promise<void> => this.#engine.abortMultipartUpload(request);
    return tree === undefined ? abort() : tree.between(request.key, abort);
  }
  listMultipartUploads(request: api.ListUploadsRequest): Promise<api.UploadPage> {
    return this.#engine.listMultipartUploads(request);
  }

  runLifecycle(): Promise<boolean> {
    return this.#engine.runLifecycle();
  }
  collectGarbage(): Promise<boolean> {
    return this.#engine.collectGarbage();
  }
  reloadKeys(): Promise<void> {
    return this.#engine.reloadKeys();
  }
  encryptionStatus(): ReturnType<Engine['encryptionStatus']> {
    return this.#engine.encryptionStatus();
  }
  rotateKeys(): Promise<boolean> {
    return this.#engine.rotateKeys();
  }

  async close(): Promise<void> {
    for (const tree of this.#trees.values()) await tree.close();
    await this.#engine.close();
  }

  /** A file has neither an owner of its own nor an ACL: what asks for one is refused. */
  #withoutAcl<Request extends api.PutObjectRequest | api.CreateUploadRequest>(request: Request): Request {
    const { owner, ownership } = request;
    if (!this.#trees.has(request.bucket)) return request;
    return {
      ...request,
      authorize: (bucket: api.Bucket, object?: api.ExistingObject) => {
        request.authorize(bucket, object);
        const decided = ownership?.(bucket) ?? { owner };
        if (decided.acl !== undefined || decided.owner.id !== bucket.owner.id) refuseAcl();
      },
    };
  }

  async #headSource(source: api.ObjectSource, signal: AbortSignal | undefined): Promise<api.ObjectHead> {
    return asSource(() => this.headObject(sourceRequest(source, signal)));
  }

  async #openSource(
    source: api.ObjectSource,
    signal: AbortSignal | undefined,
    range?: api.RangeRequest,
  ): Promise<api.ObjectRead> {
    const request = sourceRequest(source, signal);
    return asSource(() => this.getObject(range === undefined ? request : { ...request, range }));
  }

  #on<Answer>(
    request: { readonly bucket: string },
    operation: (objects: Engine | TreeBucket) => Promise<Answer>,
  ): Promise<Answer> {
    const tree = this.#trees.get(request.bucket);
    return tree === undefined ? operation(this.#engine) : this.#run(() => operation(tree));
  }

  #checkFeatures(request: api.PutObjectRequest | api.CreateUploadRequest): void {
    const { storageClass = 'STANDARD', tags, lock } = request;
    const marked = lock !== undefined || (tags !== undefined && tags.size > 0);
    if (this.#trees.has(request.bucket) && marked) refuseHere('tags or locks of objects');
    if (this.#trees.has(request.bucket) && storageClass !== 'STANDARD') refuseHere(`class ${storageClass}`);
  }

  #run<Answer>(operation: () => Promise<Answer>): Promise<Answer> {
    return translateErrors(this.#context, () => translateFileErrors(operation));
  }
}

function refuseAcl(): never {
  return refuse(
    'NotImplemented',
    'Objects of a bucket that serves a directory belong to the owner of the bucket and have no ACL.',
  );
}

/** Of a copy's source, what a read would answer with 304 is 412. */
async function asSource<Answer>(read: () => Promise<Answer>): Promise<Answer> {
  try {
    return await read();
  } catch (error) {
    if (!(error instanceof BackendError) || error.code !== 'NotModified') throw error;
    return refuse('PreconditionFailed', 'At least one of the pre-conditions you specified did not hold');
  }
}
