import type { ChecksumAlgorithm, ChecksumType, CreateUploadRequest, UploadCreated } from '../backend.ts';
import { defaultChecksumType, isChecksumTypeAllowed } from '../checksums/checksums.ts';
import { commit } from './commit.ts';
import type { EngineContext } from './context.ts';
import { refuse } from './context.ts';
import { mintId, uploadIdText } from './ids.ts';
import { checkKey } from './object_keys.ts';
import { checkLockAsked } from './object_lock.ts';
import { ownershipOf } from './put_object.ts';
import { encryptionOf, type SseRow } from '../encryption/sse_row.ts';
import { bucketEncryption } from './bucket_encryption.ts';
import { sseFor } from './protection.ts';
import { uploadKey } from './row_keys.ts';
import { encodeUpload } from './rows.ts';
import { storageClassOf } from './storage_classes.ts';
import { bucketUnchanged, readBucket } from './targets.ts';

export async function createMultipartUpload(
  context: EngineContext,
  request: CreateUploadRequest,
): Promise<UploadCreated> {
  checkKey(request.key);
  const storageClass = storageClassOf(context, request);
  const checksum = resolveChecksum(request.checksum);
  const uploadId = mintId(context);
  const sse = await commit<SseRow | undefined>(context, async () => {
    const bucket = await readBucket(context, request);
    const { owner, acl } = ownershipOf(request, bucket.row);
    checkLockAsked(context, request.lock, bucket.row);
    const encryption = sseFor(context, request.encryption ?? bucketEncryption(bucket.row));
    const value = encodeUpload({
      bucketId: bucket.row.id,
      owner,
      ...(owner.id === request.owner.id ? {} : { initiator: request.owner }),
      ...(acl === undefined ? {} : { acl }),
      metadata: request.metadata,
      initiatedMs: Math.floor(context.clock()),
      storageClass,
      checksum,
      checksumChosen: request.checksum !== undefined,
      ...(encryption === undefined ? {} : { sse: encryption }),
      ...(request.tags === undefined ? {} : { tags: request.tags }),
      ...(request.lock === undefined ? {} : { lock: request.lock }),
    });
    const key = uploadKey(request.bucket, { key: request.key, uploadId });
    return {
      conditions: [bucketUnchanged(bucket)],
      operations: [{ type: 'put', table: 'multipart', key, value }],
      result: encryption,
    };
  });
  return {
    uploadId: uploadIdText(uploadId),
    ...(sse === undefined ? {} : { encryption: encryptionOf(sse) }),
    ...(request.checksum === undefined ? {} : { checksum }),
  };
}

function resolveChecksum(asked: CreateUploadRequest['checksum']): {
  readonly algorithm: ChecksumAlgorithm;
  readonly type: ChecksumType;
} {
  const algorithm = asked?.algorithm ?? 'CRC64NVME';
  const type = asked?.type ?? defaultChecksumType(algorithm);
  if (!isChecksumTypeAllowed(algorithm, type)) {
    refuse(
      'InvalidRequest',
      `The ${type} checksum type cannot be used with the ${algorithm.toLowerCase()} checksum algorithm.`,
    );
  }
  return { algorithm, type };
}
