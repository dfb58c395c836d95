import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type * as api from '../backend.ts';
import { Checksums } from '../checksums/checksums.ts';
import type { DataStore } from '../data_store.ts';
import type { Keyring } from '../encryption/keyring.ts';
import { MasterKeys, type KeyUse } from '../encryption/master_keys.ts';
import { Vault } from '../frames/vault.ts';
import type { GlobalState } from '../global_state.ts';
import { abortMultipartUpload } from './abort_upload.ts';
import {
  createBucket,
  deleteBucket,
  ensureBucket,
  headBucket,
  listBuckets,
  type ConfiguredBucket,
} from './buckets.ts';
import { updateBucketSettings } from './update_bucket_settings.ts';
import { completeMultipartUpload } from './complete_upload.ts';
import { ContentCache } from './content_cache.ts';
import type { EngineContext, EngineLogger } from './context.ts';
import { copyObject } from './copy_object.ts';
import { createMultipartUpload } from './create_upload.ts';
import { deleteObject } from './delete_object.ts';
import { GarbageWorker } from './garbage.ts';
import { getObject, headObject } from './get_object.ts';
import { LifecycleRules } from '../lifecycle/rules.ts';
import { LifecycleWorker, type LifecycleOptions } from './lifecycle_worker.ts';
import { LockClock } from './lock_clock.ts';
import { KeyRotation, type RotationProgress } from './key_rotation.ts';
import { listObjects } from './list_objects.ts';
import { listParts } from './list_parts.ts';
import { listMultipartUploads } from './list_uploads.ts';
import { listObjectVersions } from './list_versions.ts';
import type { ChangeObserver } from './object_changes.ts';
import { putObject } from './put_object.ts';
import { SettingTexts } from './setting_texts.ts';
import { translateErrors } from './translate_errors.ts';
import { updateObject } from './update_object.ts';
import { updateObjectAcl } from './update_object_acl.ts';
import { uploadPart, uploadPartCopy } from './upload_part.ts';

const defaultContentCacheBytes = 16 * 1024 ** 2;
const settingTextsBytes = 16 * 1024 ** 2;
const defaultGarbageLeaseMs = 30_000;

export interface EngineOptions {
  readonly type: api.Backend['type'];
  readonly state: GlobalState;
  readonly data: DataStore;
  readonly region: string;
  readonly logger: EngineLogger;
  /** Content is freed no sooner than this after nothing names it any more; 0: at once. */
  readonly gcDelayMs: number;
  /** Made, where they aren't there yet, before the engine serves. */
  readonly buckets?: readonly ConfiguredBucket[];
  /** Absent: SSE-S3 and SSE-KMS are refused, and nothing is encrypted at rest. */
  readonly encryption?: EncryptionOptions;
  /** Absent: nothing is compressed. */
  readonly compressionLevel?: number;
  /** Milliseconds since 1970. */
  readonly clock?: () => number;
  /** Milliseconds since whenever; nobody can set it. Default: the process's own. */
  readonly monotonicClock?: () => number;
  readonly randomBytes?: (length: number) => Uint8Array;
  readonly contentCacheBytes?: number;
  /** For how long what was read of content is believed; default: for ever, which is right where content never moves. */
  readonly contentCacheMs?: number;
  /** How long other gateways wait for one that collects garbage and has gone silent. */
  readonly garbageLeaseMs?: number;
  /** Between two looks at what became garbage; default: a tenth of the delay, from 5 s to a minute. */
  readonly garbageIntervalMs?: number;
  /** How lifecycle rules are carried out. */
  readonly lifecycle?: LifecycleOptions;
  /** Those that new objects may take besides STANDARD. */
  readonly storageClasses?: readonly string[];
  /** Asked about every change of an object; what they answer goes into its batch. */
  readonly observers?: readonly ((ports: EnginePorts) => ChangeObserver)[];
  /** What works behind the requests on the engine's state: started with it, closed before it. */
  readonly workers?: readonly ((ports: EnginePorts) => EngineWorker)[];
}

/** What the engine shares with its observers and workers. */
export type EnginePorts = Pick<EngineContext, 'state' | 'logger' | 'clock' | 'randomBytes'>;

export interface EngineWorker {
  start(): void;
  close(): Promise<void>;
}

export interface EncryptionOptions {
  /** Reads the keyring; asked again at a reload. */
  readonly readKeyring: () => Promise<Keyring>;
  /** Whether objects are encrypted for which nobody asked. */
  readonly atRest: boolean;
  /** False: keys are rotated only when `rotateKeys` is called; default: true. */
  readonly rotates?: boolean;
  /**
   * The keyring turned out to lack a key that stored content needs, after the engine was opened: the process must not
   * go on. On the filesystem backend opening fails instead.
   */
  readonly onRefused?: (error: Error) => void;
}

/** A Backend that can be asked to collect garbage now. */
export interface Engine extends api.Backend {
  /** One pass over what is due. False: another gateway is at it. */
  collectGarbage(): Promise<boolean>;
  /** Carries out the lifecycle rules that are due. False: another gateway is at it. */
  runLifecycle(): Promise<boolean>;
  /** Reads the keyring again; one that can't be used changes nothing. @throws KeyringError */
  reloadKeys(): Promise<void>;
  /** What the keys are, and how far wrapping anew has come; undefined where no keys are configured. */
  encryptionStatus(): Promise<EncryptionStatus | undefined>;
  /** See `KeyRotation.rotate`; also done by itself once the keyring has changed. */
  rotateKeys(): Promise<boolean>;
}

export interface EncryptionStatus {
  /** Id of the key that new content is wrapped under. */
  readonly active: string;
  /** Keys that stored content needs. */
  readonly needed: readonly { readonly id: string; readonly fingerprint: string; readonly use: KeyUse }[];
  readonly rotation?: RotationProgress;
}

/** The object engine over the two ports, which it owns from now on: `close()` closes both. */
export async function openEngine(options: EngineOptions): Promise<Engine> {
  return (await openEngineAndContext(options)).engine;
}

/** For a backend that adds to the engine and shares what it works with. */
export async function openEngineAndContext(
  options: EngineOptions,
): Promise<{ readonly engine: Engine; readonly context: EngineContext }> {
  const { context, garbage } = await openContext(options);
  const lifecycle = new LifecycleWorker(context, {
    ...options.lifecycle,
    leaseMs: options.garbageLeaseMs ?? defaultGarbageLeaseMs,
  });
  await checkKeys(context, options);
  for (const bucket of options.buckets ?? []) await ensureBucket(context, bucket);
  const { keys } = context.protection;
  const rotation = keys === undefined ? undefined : new KeyRotation(context, keys);
  const rotating = rotation === undefined || options.encryption?.rotates === false ? [] : [rotation];
  const more = (options.workers ?? []).map((open) => open(context));
  const workers = [garbage, lifecycle, ...rotating, ...more];
  for (const worker of workers) worker.start();
  const behind = { garbage, lifecycle, rotation, workers };
  return { engine: new ObjectEngine(options.type, context, behind), context };
}

async function openContext(
  options: EngineOptions,
): Promise<{ context: EngineContext; garbage: GarbageWorker }> {
  const random = options.randomBytes ?? randomBytes;
  const sleep: EngineContext['sleep'] = async (ms, signal) =>
    delay(ms, undefined, signal === undefined ? {} : { signal });
  const { encryption } = options;
  const keys =
    encryption === undefined
      ? undefined
      : await MasterKeys.open({
          read: encryption.readKeyring,
          state: options.state,
          logger: options.logger,
          randomBytes: random,
          sleep,
        });
  const context: EngineContext = {
    state: options.state,
    data: options.data,
    vault: new Vault({ data: options.data, ring: () => keys?.ring, randomBytes: random }),
    protection: {
      keys,
      atRest: encryption?.atRest === true,
      compressionLevel: options.compressionLevel,
    },
    checksums: await Checksums.load(),
    contents: new ContentCache(options.contentCacheBytes ?? defaultContentCacheBytes, options.contentCacheMs),
    settingTexts: new SettingTexts(settingTextsBytes),
    lockClock: new LockClock({
      wall: options.clock ?? Date.now,
      monotonic: options.monotonicClock ?? (() => performance.now()),
    }),
    region: options.region,
    logger: options.logger,
    clock: options.clock ?? Date.now,
    randomBytes: random,
    sleep,
    wakeGarbage: () => garbage.wake(),
    lifecycleRules: new LifecycleRules(),
    storageClasses: new Set(options.storageClasses),
    observers: (options.observers ?? []).map((open) =>
      open({
        state: options.state,
        logger: options.logger,
        clock: options.clock ?? Date.now,
        randomBytes: random,
      }),
    ),
  };
  const garbage = new GarbageWorker({
    context,
    delayMs: options.gcDelayMs,
    leaseMs: options.garbageLeaseMs ?? defaultGarbageLeaseMs,
    ...(options.garbageIntervalMs === undefined ? {} : { intervalMs: options.garbageIntervalMs }),
  });
  return { context, garbage };
}

/** A gateway of a cluster starts while its database may not answer yet: there the check goes on behind. */
async function checkKeys(context: EngineContext, options: EngineOptions): Promise<void> {
  const { keys } = context.protection;
  if (keys === undefined) return;
  if (options.type === 'filesystem') return keys.check();
  keys.check().catch((error: unknown) => {
    if (keys.closed) return;
    options.encryption?.onRefused?.(error instanceof Error ? error : new Error(String(error)));
  });
}

class ObjectEngine implements Engine {
  readonly type: api.Backend['type'];
  readonly #context: EngineContext;
  readonly #garbage: GarbageWorker;
  readonly #rotation: KeyRotation | undefined;
  readonly #lifecycle: LifecycleWorker;
  readonly #workers: readonly EngineWorker[];

  constructor(
    type: api.Backend['type'],
    context: EngineContext,
    behind: {
      readonly garbage: GarbageWorker;
      readonly rotation: KeyRotation | undefined;
      readonly lifecycle: LifecycleWorker;
      readonly workers: readonly EngineWorker[];
    },
  ) {
    this.type = type;
    this.#context = context;
    this.#garbage = behind.garbage;
    this.#rotation = behind.rotation;
    this.#lifecycle = behind.lifecycle;
    this.#workers = behind.workers;
  }

  listBuckets(request: api.ListBucketsRequest): Promise<api.BucketPage> {
    return this.#run(listBuckets, request);
  }
  createBucket(request: api.CreateBucketRequest): Promise<api.BucketInfo> {
    return this.#run(createBucket, request);
  }
  headBucket(request: api.BucketRequest): Promise<api.Bucket> {
    return this.#run(headBucket, request);
  }
  updateBucketSettings(request: api.UpdateBucketSettingsRequest): Promise<void> {
    return this.#run(updateBucketSettings, request);
  }
  deleteBucket(request: api.BucketRequest): Promise<void> {
    return this.#run(deleteBucket, request);
  }

  putObject(request: api.PutObjectRequest): Promise<api.ObjectWritten> {
    return this.#run(putObject, request);
  }
  getObject(request: api.GetObjectRequest): Promise<api.ObjectRead> {
    return this.#run(getObject, request);
  }
  headObject(request: api.HeadObjectRequest): Promise<api.ObjectHead> {
    return this.#run(headObject, request);
  }
  deleteObject(request: api.DeleteObjectRequest): Promise<api.ObjectDeleted> {
    return this.#run(deleteObject, request);
  }
  copyObject(request: api.CopyObjectRequest): Promise<api.ObjectWritten> {
    return this.#run(copyObject, request);
  }
  updateObjectAcl(request: api.UpdateObjectAclRequest): Promise<api.ObjectAclUpdated> {
    return this.#run(updateObjectAcl, request);
  }

  updateObject(request: api.UpdateObjectRequest): Promise<api.ObjectUpdated> {
    return this.#run(updateObject, request);
  }

  listObjects(request: api.ListObjectsRequest): Promise<api.ObjectPage> {
    return this.#run(listObjects, request);
  }
  listObjectVersions(request: api.ListVersionsRequest): Promise<api.VersionPage> {
    return this.#run(listObjectVersions, request);
  }

  createMultipartUpload(request: api.CreateUploadRequest): Promise<api.UploadCreated> {
    return this.#run(createMultipartUpload, request);
  }
  uploadPart(request: api.UploadPartRequest): Promise<api.PartWritten> {
    return this.#run(uploadPart, request);
  }
  uploadPartCopy(request: api.UploadPartCopyRequest): Promise<api.PartWritten> {
    return this.#run(uploadPartCopy, request);
  }
  listParts(request: api.ListPartsRequest): Promise<api.PartPage> {
    return this.#run(listParts, request);
  }
  completeMultipartUpload(request: api.CompleteUploadRequest): Promise<api.ObjectWritten> {
    return this.#run(completeMultipartUpload, request);
  }
  abortMultipartUpload(request: api.UploadRequest): Promise<void> {
    return this.#run(abortMultipartUpload, request);
  }
  listMultipartUploads(request: api.ListUploadsRequest): Promise<api.UploadPage> {
    return this.#run(listMultipartUploads, request);
  }

  runLifecycle(): Promise<boolean> {
    return this.#lifecycle.look();
  }

  collectGarbage(): Promise<boolean> {
    return this.#garbage.collect();
  }

  async reloadKeys(): Promise<void> {
    await this.#context.protection.keys?.reload();
    this.#rotation?.wake();
  }

  async encryptionStatus(): Promise<EncryptionStatus | undefined> {
    const { keys } = this.#context.protection;
    if (keys === undefined) return undefined;
    const [registered, rotation] = await Promise.all([keys.registered(), this.#rotation?.progress()]);
    return {
      active: keys.ring.active.id,
      needed: registered.map(({ id, fingerprint, use }) => ({
        id,
        fingerprint: Buffer.from(fingerprint).toString('hex'),
        use,
      })),
      ...(rotation === undefined ? {} : { rotation }),
    };
  }

  async rotateKeys(): Promise<boolean> {
    return this.#rotation === undefined || this.#rotation.rotate();
  }

  async close(): Promise<void> {
    this.#context.protection.keys?.close();
    try {
      // It may have worked without being among the workers, when it was asked to.
      await this.#rotation?.close();
      await closeAll(this.#workers);
    } finally {
      try {
        await this.#context.data.close();
      } finally {
        await this.#context.state.close();
      }
    }
  }

  #run<Request, Answer>(
    operation: (context: EngineContext, request: Request) => Promise<Answer>,
    request: Request,
  ): Promise<Answer> {
    return translateErrors(this.#context, () => operation(this.#context, request));
  }
}

/** Each gets its chance, also where another fails. */
async function closeAll(workers: readonly EngineWorker[]): Promise<void> {
  const results = await Promise.allSettled(workers.map((worker) => worker.close()));
  for (const result of results) if (result.status === 'rejected') throw result.reason;
}
