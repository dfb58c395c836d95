import type { CompleteUploadRequest } from '../../backend/backend.ts';
import { authorize, signedOwner } from '../authorization.ts';
import { S3Error } from '../errors.ts';
import type { Call } from '../exchange.ts';
import { expirationHeader, quoted } from '../http/answer_headers.ts';
import { awakeXmlReply } from '../http/awake_reply.ts';
import { RequestHeaders } from '../http/headers.ts';
import type { Operation } from '../operation.ts';
import {
  checkedChecksum,
  checksumAlgorithms,
  checksumElements,
  checksumHeader,
  parseChecksumType,
} from '../request/checksums.ts';
import { encryptionHeaders, refusedToTheAuthorized, requestKey } from '../request/encryption.ts';
import { originOf } from '../request/origin.ts';
import { objectLocation } from '../request/object_location.ts';
import { given, invalidArgument, maxPartNumber, uploadId } from '../request/parameters.ts';
import { parseETags, writePreconditions } from '../request/preconditions.ts';
import { readXmlBody } from '../request/xml_body.ts';
import { readXml, type XmlElement } from '../xml/read.ts';
import { element, root } from '../xml/write.ts';

/** 10,000 parts with an ETag and a SHA-256 each, and some white space. */
const maxXmlBytes = 4 * 1024 ** 2;

type Part = CompleteUploadRequest['parts'][number];

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html */
export const completeMultipartUpload: Operation = {
  name: 'CompleteMultipartUpload',
  async handle(call) {
    signedOwner(call);
    const upload = uploadId(call.query);
    const preconditions = writePreconditions(call.headers);
    const customerKey = await refusedToTheAuthorized(call, 's3:PutObject', () => requestKey(call));
    const expected = expectedChecksum(call);
    const sizeBytes = expectedSize(call);
    const bytes = await readXmlBody(withoutObjectChecksum(call), { maxBytes: maxXmlBytes });
    const parts = readXml(bytes, 'CompleteMultipartUpload').all('Part').map(readPart);
    if (parts.length === 0 || parts.length > maxPartNumber) throw new S3Error('MalformedXML');
    const completing = call.services.backend.completeMultipartUpload({
      bucket: call.bucket,
      key: call.key,
      uploadId: upload,
      parts,
      authorize: authorize(call, 's3:PutObject'),
      origin: originOf(call),
      signal: call.signal,
      ...given('checksum', expected),
      ...given('sizeBytes', sizeBytes),
      ...given('preconditions', preconditions),
      ...given('customerKey', customerKey),
    });
    return awakeXmlReply(call, completing, (written) => ({
      headers: {
        ...encryptionHeaders(written.encryption, call.headers),
        ...given('x-amz-version-id', written.versionId),
        ...expirationHeader(written.expiration),
      },
      root: root(
        'CompleteMultipartUploadResult',
        element('Location', objectLocation(call)),
        element('Bucket', call.bucket),
        element('Key', call.key),
        element('ETag', quoted(written.etag)),
        checksumElements(written.checksum),
      ),
    }));
  },
};

/** Here the checksum headers speak of the whole object, not of this request's XML. */
function withoutObjectChecksum(call: Call): Call {
  const map = new Map(call.headers.map);
  for (const algorithm of checksumAlgorithms) map.delete(checksumHeader(algorithm));
  map.delete('x-amz-sdk-checksum-algorithm');
  return { ...call, headers: new RequestHeaders(map) };
}

function expectedChecksum(call: Call): CompleteUploadRequest['checksum'] {
  const type = parseChecksumType(call.headers.get('x-amz-checksum-type'));
  const found = checksumAlgorithms.flatMap((algorithm) => {
    const value = call.headers.get(checksumHeader(algorithm));
    return value === undefined ? [] : [{ algorithm, value }];
  });
  if (found.length > 1) {
    throw new S3Error(
      'InvalidRequest',
      'Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.',
    );
  }
  const [expected] = found;
  if (expected === undefined) return undefined;
  // A composite may come with `-N` behind it.
  checkedChecksum(expected.algorithm, expected.value.replace(/-\d{1,5}$/, ''));
  return { ...expected, ...given('type', type) };
}

function expectedSize(call: Call): number | undefined {
  const header = 'x-amz-mp-object-size';
  const text = call.headers.get(header);
  if (text === undefined) return undefined;
  if (!/^\d{1,15}$/.test(text)) throw invalidArgument(header, text, `${header} must be a number of bytes.`);
  return Number(text);
}

function readPart(part: XmlElement): Part {
  const number = part.requiredText('PartNumber').trim();
  const [etag] = parseETags(part.requiredText('ETag'));
  if (!/^\d{1,9}$/.test(number) || etag === undefined) throw new S3Error('MalformedXML');
  const partNumber = Number(number);
  if (partNumber < 1 || partNumber > maxPartNumber) {
    throw invalidArgument('PartNumber', number, `PartNumber must be >= 1 and <= ${maxPartNumber}`);
  }
  const [checksum] = checksumAlgorithms.flatMap((algorithm) => {
    const value = part.text(`Checksum${algorithm}`);
    return value === undefined || value === '' ? [] : [{ algorithm, value }];
  });
  return { partNumber, etag, ...given('checksum', checksum) };
}
