import { authorize } from '../authorization.ts';
import { xmlReply } from '../http/reply.ts';
import type { Operation } from '../operation.ts';
import {
  commonPrefixes,
  continuationToken,
  nameEncoding,
  ownerElement,
  readContinuationToken,
  summaryElements,
} from '../request/listing.ts';
import { given, invalidArgument, optional, pageSize } from '../request/parameters.ts';
import { element, parent, root } from '../xml/write.ts';

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html */
export const listObjectsV2: Operation = {
  name: 'ListObjectsV2',
  async handle(call) {
    const { query } = call;
    const type = query.get('list-type') ?? '';
    if (type !== '2') throw invalidArgument('list-type', type, 'Invalid List Type specified in Request');
    const encoding = nameEncoding(query);
    const prefix = query.get('prefix') ?? '';
    const delimiter = optional(query, 'delimiter');
    const token = query.get('continuation-token');
    const startAfter = query.get('start-after');
    const maxKeys = pageSize(query, 'max-keys');
    const from =
      token === undefined || token === '' ? optional(query, 'start-after') : readContinuationToken(token);
    const page = await call.services.backend.listObjects({
      bucket: call.bucket,
      prefix,
      maxKeys,
      authorize: authorize(call, 's3:ListBucket'),
      signal: call.signal,
      ...given('delimiter', delimiter),
      ...given('startAfter', from),
    });
    const truncated = maxKeys > 0 && page.next !== undefined;
    const withOwner = query.get('fetch-owner')?.toLowerCase() === 'true';
    const body = root(
      'ListBucketResult',
      element('Name', call.bucket),
      encoding.name('Prefix', prefix),
      element('ContinuationToken', token),
      element('NextContinuationToken', truncated ? continuationToken(page.next) : undefined),
      encoding.name('StartAfter', startAfter),
      element('KeyCount', page.objects.length + page.prefixes.length),
      element('MaxKeys', maxKeys),
      encoding.name('Delimiter', delimiter),
      element('EncodingType', encoding.type),
      element('IsTruncated', truncated),
      ...page.objects.map((object) =>
        parent(
          'Contents',
          encoding.name('Key', object.key),
          summaryElements(object),
          withOwner ? ownerElement('Owner', object.owner) : '',
        ),
      ),
      commonPrefixes(page.prefixes, encoding),
    );
    return xmlReply(body);
  },
};
