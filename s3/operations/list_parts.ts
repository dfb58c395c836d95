import { authorize } from '../authorization.ts';
import { quoted } from '../http/answer_headers.ts';
import { xmlReply } from '../http/reply.ts';
import type { Operation } from '../operation.ts';
import { checksumElements } from '../request/checksums.ts';
import { nameEncoding, ownerElement } from '../request/listing.ts';
import { invalidArgument, optional, pageSize, uploadId } from '../request/parameters.ts';
import { element, isoTime, parent, root } from '../xml/write.ts';

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListParts.html */
export const listParts: Operation = {
  name: 'ListParts',
  async handle(call) {
    const { query } = call;
    const encoding = nameEncoding(query);
    const maxParts = pageSize(query, 'max-parts');
    const partNumberMarker = marker(optional(query, 'part-number-marker'));
    const upload = uploadId(query);
    const page = await call.services.backend.listParts({
      bucket: call.bucket,
      key: call.key,
      uploadId: upload,
      partNumberMarker,
      maxParts,
      authorize: authorize(call, 's3:ListMultipartUploadParts'),
      signal: call.signal,
    });
    const truncated = maxParts > 0 && page.next !== undefined;
    const body = root(
      'ListPartsResult',
      element('Bucket', call.bucket),
      encoding.name('Key', call.key),
      element('UploadId', upload),
      ownerElement('Initiator', page.initiator),
      ownerElement('Owner', page.owner),
      element('StorageClass', page.storageClass),
      element('PartNumberMarker', partNumberMarker),
      element('NextPartNumberMarker', page.next ?? page.parts.at(-1)?.partNumber ?? 0),
      element('MaxParts', maxParts),
      element('EncodingType', encoding.type),
      element('IsTruncated', truncated),
      element('ChecksumAlgorithm', page.checksum?.algorithm),
      element('ChecksumType', page.checksum?.type),
      ...page.parts.map((part) =>
        parent(
          'Part',
          element('PartNumber', part.partNumber),
          element('LastModified', isoTime(part.lastModifiedMs)),
          element('ETag', quoted(part.etag)),
          element('Size', part.sizeBytes),
          checksumElements(part.checksum, { type: false }),
        ),
      ),
    );
    return xmlReply(body);
  },
};

function marker(text: string | undefined): number {
  if (text === undefined) return 0;
  if (!/^\d{1,9}$/.test(text)) {
    throw invalidArgument(
      'part-number-marker',
      text,
      'Provided part-number-marker not an integer or within integer range',
    );
  }
  return Number(text);
}
