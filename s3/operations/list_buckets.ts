import { requireGrant } from '../authorization.ts';
import { xmlReply } from '../http/reply.ts';
import type { Operation } from '../operation.ts';
import { continuationToken, ownerElement, readContinuationToken } from '../request/listing.ts';
import { given, invalidArgument, optional } from '../request/parameters.ts';
import { element, isoTime, parent, root } from '../xml/write.ts';

const maxBuckets = 10_000;

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListBuckets.html */
export const listBuckets: Operation = {
  name: 'ListBuckets',
  async handle(call) {
    const owner = requireGrant(call, 's3:ListAllMyBuckets', '*');
    const prefix = optional(call.query, 'prefix');
    const token = optional(call.query, 'continuation-token');
    const page = await call.services.backend.listBuckets({
      owner,
      maxBuckets: askedBuckets(optional(call.query, 'max-buckets')),
      ...given('prefix', prefix),
      ...given('startAfter', token === undefined ? undefined : readContinuationToken(token)),
    });
    const body = root(
      'ListAllMyBucketsResult',
      ownerElement('Owner', owner),
      parent(
        'Buckets',
        ...page.buckets.map((bucket) =>
          parent(
            'Bucket',
            element('Name', bucket.name),
            element('CreationDate', isoTime(bucket.createdMs)),
            element('BucketRegion', bucket.region),
          ),
        ),
      ),
      element('ContinuationToken', page.next === undefined ? undefined : continuationToken(page.next)),
      element('Prefix', prefix),
    );
    return xmlReply(body);
  },
};

function askedBuckets(text: string | undefined): number {
  if (text === undefined) return maxBuckets;
  const value = /^\d{1,9}$/.test(text) ? Number(text) : 0;
  if (value < 1 || value > maxBuckets) {
    throw invalidArgument('max-buckets', text, `max-buckets must be an integer between 1 and ${maxBuckets}`);
  }
  return value;
}
