import { createHmac } from 'node:crypto';
import type { Condition } from '../../s3db/database.ts';
import type { EncryptionRequest, ObjectEncryption, ObjectMetadata } from '../backend.ts';
import { mayShrink } from '../compression/compressible.ts';
import { checkOfCustomerKey, isCustomerKey } from '../encryption/customer_key.ts';
import { canonicalContext } from '../encryption/kms_context.ts';
import type { Keyring, RingKey } from '../encryption/keyring.ts';
import type { KeyUse } from '../encryption/master_keys.ts';
import { encryptionOf, type SseRow } from '../encryption/sse_row.ts';
import type { SealedRow, WrappedKey } from '../frames/sealed_row.ts';
import type { VaultWriteOptions, WrapUnder } from '../frames/vault.ts';
import type { LoadedBucket } from './bucket_settings.ts';
import { bucketEncryption } from './bucket_encryption.ts';
import type { EngineContext } from './context.ts';
import { refuse } from './context.ts';

const saltBytes = 16;

/** How new content is to be kept, and what its object says of that. */
export interface Protection {
  readonly sse: SseRow | undefined;
  readonly seal: Pick<VaultWriteOptions, 'under' | 'compressionLevel'>;
  /** What makes the ETag of the content's MD5 where that must not be told; absent: the ETag is the MD5. */
  readonly etagKey?: Uint8Array;
}

interface ObjectName {
  readonly bucket: string;
  readonly key: string;
}

/**
 * What was asked for, else what the bucket says, else encryption at rest where that is configured.
 * @throws BackendError NotImplemented without configured keys, KMS.NotFoundException, InvalidArgument
 */
export function protectionOf(
  context: EngineContext,
  object: {
    readonly name: ObjectName;
    readonly asked: EncryptionRequest | undefined;
    readonly bucket: LoadedBucket;
    readonly metadata: ObjectMetadata;
  },
): Protection {
  const sse = sseFor(context, object.asked ?? bucketEncryption(object.bucket));
  const customerKey = object.asked?.type === 'customer' ? object.asked.key : undefined;
  return protect(context, { name: object.name, sse, customerKey, metadata: object.metadata });
}

/**
 * What an upload was begun with holds for each of its parts.
 * @throws BackendError InvalidRequest where the client's key isn't the upload's.
 */
export function protectionOfPart(
  context: EngineContext,
  part: {
    readonly name: ObjectName;
    readonly sse: SseRow | undefined;
    readonly metadata: ObjectMetadata;
    readonly customerKey: Uint8Array | undefined;
  },
): Protection {
  checkUploadKey(part.sse, part.customerKey);
  return protect(context, part);
}

function protect(context: EngineContext, object: ProtectedObject): Protection {
  const seal = sealFor(context, object);
  const etagKey = etagKeyFor(object, seal.under);
  return { sse: object.sse, seal, ...(etagKey === undefined ? {} : { etagKey }) };
}

/**
 * SSE-C and SSE-KMS hide an object even from those who may list it, so its ETag isn't its MD5, as in S3. The same
 * content of the same object under the same key has the same one: clients send a part again and name its first ETag.
 */
function etagKeyFor(object: ProtectedObject, under: WrapUnder | undefined): Uint8Array | undefined {
  if (under === undefined || object.sse === undefined || object.sse.type === 'AES256') return undefined;
  const key = 'customerKey' in under ? under.customerKey : under.key.material;
  const { bucket, key: name } = object.name;
  return createHmac('sha256', key).update(`s3d etag v1\0${bucket}/${name}`).digest();
}

/** The row that an upload keeps. @throws as `protectionOf` */
export function sseFor(context: EngineContext, asked: EncryptionRequest | undefined): SseRow | undefined {
  switch (asked?.type) {
    case undefined:
      return undefined;
    case 'AES256':
      ringOf(context);
      return { type: 'AES256' };
    case 'customer':
      return { type: 'customer', check: checkOfCustomerKey(asked.key, context.randomBytes(saltBytes)) };
    case 'aws:kms': {
      const key = kmsKey(ringOf(context), asked.keyId);
      return {
        type: 'aws:kms',
        keyId: asked.keyId ?? key.id,
        context: canonicalContext(asked.context ?? {}),
        bucketKey: asked.bucketKey === true,
      };
    }
  }
}

interface ProtectedObject {
  readonly name: ObjectName;
  readonly sse: SseRow | undefined;
  readonly customerKey: Uint8Array | undefined;
  readonly metadata: ObjectMetadata;
}

function sealFor(context: EngineContext, object: ProtectedObject): Protection['seal'] {
  const { compressionLevel } = context.protection;
  const under = wrapUnder(context, object.sse, object.customerKey);
  return {
    ...(under === undefined ? {} : { under }),
    ...(compressionLevel !== undefined && mayShrink(object.metadata.system) ? { compressionLevel } : {}),
  };
}

function wrapUnder(
  context: EngineContext,
  sse: SseRow | undefined,
  customerKey: Uint8Array | undefined,
): WrapUnder | undefined {
  switch (sse?.type) {
    case undefined: {
      const { keys, atRest } = context.protection;
      return keys === undefined || !atRest ? undefined : { key: keys.ring.active };
    }
    case 'AES256':
      return { key: ringOf(context).active };
    case 'aws:kms':
      return { key: kmsKey(ringOf(context), sse.keyId), context: sse.context };
    case 'customer':
      if (customerKey === undefined) throw new Error("content under a client's key needs that key");
      return { customerKey };
  }
}

function ringOf(context: EngineContext): Keyring {
  const { keys } = context.protection;
  if (keys !== undefined) return keys.ring;
  return refuse(
    'NotImplemented',
    'Server side encryption with keys of the server was asked for, but no encryption keys are configured.',
  );
}

/** By its id, or by an ARN that ends in it. */
function kmsKey(ring: Keyring, keyId: string | undefined): RingKey {
  if (keyId === undefined) {
    return (
      ring.kmsDefault ??
      refuse('InvalidArgument', 'Server Side Encryption with AWS KMS managed key requires a key id.', {
        ArgumentName: 'x-amz-server-side-encryption-aws-kms-key-id',
      })
    );
  }
  const short = /^arn:aws:kms:[^:]*:[^:]*:(?:key|alias)\/(.+)$/.exec(keyId)?.[1];
  return (
    ring.current(keyId) ??
    (short === undefined ? undefined : ring.current(short)) ??
    refuse('KMS.NotFoundException', `Key '${keyId}' does not exist`)
  );
}

/**
 * Holds a reader's key against the object's.
 * @throws BackendError InvalidRequest: no key where one is needed, another one, or one where none is.
 */
export function checkReaderKey(sse: SseRow | undefined, customerKey: Uint8Array | undefined): void {
  if (sse?.type !== 'customer') {
    if (customerKey === undefined) return;
    refuse('InvalidRequest', 'The encryption parameters are not applicable to this object.');
  }
  if (customerKey === undefined) {
    refuse(
      'InvalidRequest',
      'The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve the object.',
    );
  }
  if (!isCustomerKey(customerKey, sse.check)) {
    refuse('InvalidRequest', 'The provided encryption parameters did not match the ones used originally.');
  }
}

/** Holds the key that comes with a part, or with Complete, against the upload's. @throws BackendError InvalidRequest */
export function checkUploadKey(sse: SseRow | undefined, customerKey: Uint8Array | undefined): void {
  if (sse?.type !== 'customer') {
    if (customerKey === undefined) return;
    refuse(
      'InvalidRequest',
      'The multipart upload initiate did not request encryption. Please do not provide encryption parameters.',
    );
  }
  if (customerKey === undefined) {
    refuse(
      'InvalidRequest',
      'The multipart upload initiate requested encryption. Subsequent part requests must include the appropriate encryption parameters.',
    );
  }
  if (!isCustomerKey(customerKey, sse.check)) {
    refuse('InvalidRequest', 'The provided encryption parameters did not match the ones used originally.');
  }
}

/** For an answer. */
export function encryptionField(sse: SseRow | undefined): { readonly encryption?: ObjectEncryption } {
  return sse === undefined ? {} : { encryption: encryptionOf(sse) };
}

/**
 * What a batch that names newly wrapped content is conditional on: that nobody retired its key meanwhile. When that
 * fails, the next round registers the key again.
 */
export async function keyConditions(
  context: EngineContext,
  content: { readonly sealed?: SealedRow },
  round: number,
): Promise<Condition[]> {
  const under = content.sealed?.key?.under;
  if (under === undefined) return [];
  const { keys } = context.protection;
  if (keys === undefined) throw new Error('content was wrapped without keys');
  return [await keys.inUse(under, { use: useOf(under), fresh: round > 0 })];
}

export function useOf(under: NonNullable<WrappedKey['under']>): KeyUse {
  return under.context === undefined ? 'rest' : 'kms';
}
