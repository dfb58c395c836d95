import { authorize } from '../authorization.ts';
import { xmlReply } from '../http/reply.ts';
import type { Operation } from '../operation.ts';
import { commonPrefixes, nameEncoding, ownerElement, summaryElements } from '../request/listing.ts';
import { given, optional, pageSize } from '../request/parameters.ts';
import { element, parent, root } from '../xml/write.ts';

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjects.html */
export const listObjects: Operation = {
  name: 'ListObjects',
  async handle(call) {
    const { query } = call;
    const encoding = nameEncoding(query);
    const prefix = query.get('prefix') ?? '';
    const delimiter = optional(query, 'delimiter');
    const marker = query.get('marker') ?? '';
    const maxKeys = pageSize(query, 'max-keys');
    const page = await call.services.backend.listObjects({
      bucket: call.bucket,
      prefix,
      maxKeys,
      authorize: authorize(call, 's3:ListBucket'),
      signal: call.signal,
      ...given('delimiter', delimiter),
      ...given('startAfter', marker === '' ? undefined : marker),
    });
    const truncated = maxKeys > 0 && page.next !== undefined;
    const body = root(
      'ListBucketResult',
      element('Name', call.bucket),
      // Never encoded: clients of this older listing don't decode it.
      element('Prefix', prefix),
      encoding.name('Marker', marker),
      // S3 gives NextMarker only with a delimiter; without one clients take the last key.
      truncated && delimiter !== undefined ? encoding.name('NextMarker', page.next) : '',
      element('MaxKeys', maxKeys),
      encoding.name('Delimiter', delimiter),
      element('EncodingType', encoding.type),
      element('IsTruncated', truncated),
      ...page.objects.map((object) =>
        parent(
          'Contents',
          encoding.name('Key', object.key),
          summaryElements(object),
          ownerElement('Owner', object.owner),
        ),
      ),
      commonPrefixes(page.prefixes, encoding),
    );
    return xmlReply(body);
  },
};
