import { authorize } from '../authorization.ts';
import { xmlReply } from '../http/reply.ts';
import type { Operation } from '../operation.ts';
import { commonPrefixes, nameEncoding, ownerElement } from '../request/listing.ts';
import { given, optional, pageSize } from '../request/parameters.ts';
import { element, isoTime, parent, root } from '../xml/write.ts';

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListMultipartUploads.html */
export const listMultipartUploads: Operation = {
  name: 'ListMultipartUploads',
  async handle(call) {
    const { query } = call;
    const encoding = nameEncoding(query);
    const prefix = query.get('prefix') ?? '';
    const delimiter = optional(query, 'delimiter');
    const keyMarker = query.get('key-marker') ?? '';
    // S3 ignores the second marker without the first.
    const uploadIdMarker = keyMarker === '' ? '' : (query.get('upload-id-marker') ?? '');
    const maxUploads = pageSize(query, 'max-uploads');
    const page = await call.services.backend.listMultipartUploads({
      bucket: call.bucket,
      prefix,
      maxUploads,
      authorize: authorize(call, 's3:ListBucketMultipartUploads'),
      signal: call.signal,
      ...given('delimiter', delimiter),
      ...given('keyMarker', keyMarker === '' ? undefined : keyMarker),
      ...given('uploadIdMarker', uploadIdMarker === '' ? undefined : uploadIdMarker),
    });
    const truncated = maxUploads > 0 && page.nextKeyMarker !== undefined;
    const body = root(
      'ListMultipartUploadsResult',
      element('Bucket', call.bucket),
      encoding.name('KeyMarker', keyMarker),
      element('UploadIdMarker', uploadIdMarker),
      truncated ? encoding.name('NextKeyMarker', page.nextKeyMarker) : '',
      truncated ? element('NextUploadIdMarker', page.nextUploadIdMarker) : '',
      encoding.name('Prefix', prefix),
      encoding.name('Delimiter', delimiter),
      element('EncodingType', encoding.type),
      element('MaxUploads', maxUploads),
      element('IsTruncated', truncated),
      ...page.uploads.map((upload) =>
        parent(
          'Upload',
          encoding.name('Key', upload.key),
          element('UploadId', upload.uploadId),
          ownerElement('Initiator', upload.initiator),
          ownerElement('Owner', upload.owner),
          element('StorageClass', upload.storageClass),
          element('Initiated', isoTime(upload.initiatedMs)),
        ),
      ),
      commonPrefixes(page.prefixes, encoding),
    );
    return xmlReply(body);
  },
};
