import type { CreateUploadRequest } from '../../backend/backend.ts';
import { decideOwnership } from '../access/ownership.ts';
import { signedOwner } from '../authorization.ts';
import { S3Error } from '../errors.ts';
import type { Call } from '../exchange.ts';
import { xmlReply } from '../http/reply.ts';
import type { Operation } from '../operation.ts';
import { isChecksumTypeAllowed } from '../../backend/checksums/checksums.ts';
import { headerAcl } from '../request/acl_request.ts';
import { parseAlgorithm, parseChecksumType } from '../request/checksums.ts';
import { typeOfKey } from '../request/content_type.ts';
import {
  encryptionHeaders,
  encryptionRequest,
  refusedToTheAuthorized,
  transportOf,
} from '../request/encryption.ts';
import { readMetadata } from '../request/metadata.ts';
import { objectMarks } from '../request/object_marks.ts';
import { given } from '../request/parameters.ts';
import { refuseUnsupportedFeatures } from '../request/unsupported.ts';
import { element, root } from '../xml/write.ts';

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateMultipartUpload.html */
export const createMultipartUpload: Operation = {
  name: 'CreateMultipartUpload',
  async handle(call) {
    refuseUnsupportedFeatures(call.headers);
    const owner = signedOwner(call);
    const encryption = await refusedToTheAuthorized(call, 's3:PutObject', () =>
      encryptionRequest(call.headers, transportOf(call)),
    );
    const asked = await headerAcl(call.headers, call.services.accounts);
    const metadata = readMetadata(call.headers);
    const contentType = metadata.system.contentType ?? typeOfKey(call.key);
    const upload = await call.services.backend.createMultipartUpload({
      bucket: call.bucket,
      key: call.key,
      owner,
      ownership: decideOwnership(call.caller, asked),
      metadata: { ...metadata, system: { ...metadata.system, contentType } },
      ...objectMarks(call, { action: 's3:PutObject' }),
      signal: call.signal,
      ...given('storageClass', call.headers.get('x-amz-storage-class')),
      ...given('checksum', uploadChecksum(call)),
      ...given('encryption', encryption),
    });
    const headers: Record<string, string> = encryptionHeaders(upload.encryption, call.headers);
    if (upload.checksum !== undefined) {
      headers['x-amz-checksum-algorithm'] = upload.checksum.algorithm;
      headers['x-amz-checksum-type'] = upload.checksum.type;
    }
    return xmlReply(
      root(
        'InitiateMultipartUploadResult',
        element('Bucket', call.bucket),
        element('Key', call.key),
        element('UploadId', upload.uploadId),
      ),
      { headers },
    );
  },
};

function uploadChecksum(call: Call): CreateUploadRequest['checksum'] {
  const named = call.headers.get('x-amz-checksum-algorithm');
  const type = parseChecksumType(call.headers.get('x-amz-checksum-type'));
  if (named === undefined) {
    if (type === undefined) return undefined;
    throw new S3Error(
      'InvalidRequest',
      'The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.',
    );
  }
  const algorithm = parseAlgorithm(named);
  if (type !== undefined && !isChecksumTypeAllowed(algorithm, type)) {
    throw new S3Error(
      'InvalidRequest',
      `The ${type} checksum type cannot be used with the ${algorithm.toLowerCase()} checksum algorithm.`,
    );
  }
  return { algorithm, ...given('type', type) };
}
