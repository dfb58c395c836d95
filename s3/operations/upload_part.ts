import { authorize, signedOwner } from '../authorization.ts';
import { quoted } from '../http/answer_headers.ts';
import { emptyReply } from '../http/reply.ts';
import type { Operation } from '../operation.ts';
import { writeChecksum } from '../request/checksums.ts';
import { encryptionHeaders, refusedToTheAuthorized, requestKey } from '../request/encryption.ts';
import { objectBody } from '../request/object_body.ts';
import { given, partNumber, uploadId } from '../request/parameters.ts';
import { refuseUnsupportedFeatures } from '../request/unsupported.ts';

/**
 * How the object is encrypted was said when the upload began; other `x-amz-server-side-encryption` headers than the
 * client's key change nothing here, and clients do send them.
 * https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPart.html
 */
export const uploadPart: Operation = {
  name: 'UploadPart',
  async handle(call) {
    refuseUnsupportedFeatures(call.headers);
    signedOwner(call);
    const customerKey = await refusedToTheAuthorized(call, 's3:PutObject', () => requestKey(call));
    const part = await call.services.backend.uploadPart({
      bucket: call.bucket,
      key: call.key,
      uploadId: uploadId(call.query),
      partNumber: partNumber(call.query),
      body: objectBody(call),
      authorize: authorize(call, 's3:PutObject'),
      signal: call.signal,
      ...given('customerKey', customerKey),
    });
    const headers: Record<string, string> = {
      etag: quoted(part.etag),
      ...encryptionHeaders(part.encryption, call.headers),
    };
    writeChecksum(part.checksum, headers);
    // S3 tells the type of a part's checksum nowhere: the type belongs to the upload.
    delete headers['x-amz-checksum-type'];
    return emptyReply(200, headers);
  },
};
