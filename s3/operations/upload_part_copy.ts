import type { UploadPartCopyRequest } from '../../backend/backend.ts';
import { authorize, signedOwner } from '../authorization.ts';
import type { Call } from '../exchange.ts';
import { quoted } from '../http/answer_headers.ts';
import { awakeXmlReply } from '../http/awake_reply.ts';
import type { Operation } from '../operation.ts';
import { checksumElements } from '../request/checksums.ts';
import { copySource } from '../request/copy_source.ts';
import { encryptionHeaders, refusedToTheAuthorized, requestKey } from '../request/encryption.ts';
import { given, invalidArgument, partNumber, uploadId } from '../request/parameters.ts';
import { parseRange } from '../request/range.ts';
import { refuseUnsupportedFeatures } from '../request/unsupported.ts';
import { element, isoTime, root } from '../xml/write.ts';
import { asCopyRefusal } from './copy_object.ts';

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPartCopy.html */
export const uploadPartCopy: Operation = {
  name: 'UploadPartCopy',
  async handle(call) {
    refuseUnsupportedFeatures(call.headers);
    signedOwner(call);
    const { source, customerKey } = await refusedToTheAuthorized(call, 's3:PutObject', () => ({
      source: copySource(call),
      customerKey: requestKey(call),
    }));
    const copying = call.services.backend.uploadPartCopy({
      bucket: call.bucket,
      key: call.key,
      uploadId: uploadId(call.query),
      partNumber: partNumber(call.query),
      source,
      authorize: authorize(call, 's3:PutObject'),
      signal: call.signal,
      ...given('customerKey', customerKey),
      ...given('range', sourceRange(call)),
    });
    return awakeXmlReply(call, asCopyRefusal(copying), (part) => ({
      headers: {
        ...encryptionHeaders(part.encryption, call.headers),
        ...given('x-amz-copy-source-version-id', source.versionId),
      },
      root: root(
        'CopyPartResult',
        element('LastModified', isoTime(part.lastModifiedMs)),
        element('ETag', quoted(part.etag)),
        checksumElements(part.checksum, { type: false }),
      ),
    }));
  },
};

/** Unlike a Range header, this one must be there whole: `bytes=first-last`. @throws S3Error InvalidArgument */
function sourceRange(call: Call): UploadPartCopyRequest['range'] {
  const header = 'x-amz-copy-source-range';
  const text = call.headers.get(header);
  if (text === undefined) return undefined;
  const range = parseRange(text);
  if (range !== undefined && 'start' in range && range.end !== undefined) {
    return { start: range.start, end: range.end };
  }
  throw invalidArgument(
    header,
    text,
    'The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based ' +
      'offsets of the first and last bytes to copy',
  );
}
