import { S3Error } from '../errors.ts';
import type { Owner, ObjectSummary } from '../../backend/backend.ts';
import type { Query } from '../http/query.ts';
import { encodeForListing } from '../http/percent.ts';
import { quoted } from '../http/answer_headers.ts';
import { element, isoTime, parent } from '../xml/write.ts';
import { invalidArgument, optional } from './parameters.ts';

/** How names are written in one listing. */
export interface NameEncoding {
  /** `url`, or undefined when it wasn't asked for. */
  readonly type: 'url' | undefined;
  /** An element that holds a key, a prefix or a delimiter. */
  readonly name: (element: string, value: string | undefined) => string;
}

/** @throws S3Error InvalidArgument for anything but `url`. */
export function nameEncoding(query: Query): NameEncoding {
  const type = optional(query, 'encoding-type');
  if (type === undefined) return { type: undefined, name: element };
  if (type.toLowerCase() !== 'url') {
    throw invalidArgument('encoding-type', type, 'Invalid Encoding Method specified in Request');
  }
  return {
    type: 'url',
    name: (name, value) => element(name, value === undefined ? undefined : encodeForListing(value)),
  };
}

export function ownerElement(name: 'Owner' | 'Initiator', owner: Owner): string {
  return parent(name, element('ID', owner.id), element('DisplayName', owner.displayName));
}

export function commonPrefixes(prefixes: readonly string[], encoding: NameEncoding): string {
  return prefixes.map((prefix) => parent('CommonPrefixes', encoding.name('Prefix', prefix))).join('');
}

/** What `<Contents>` and `<Version>` have in common. */
export function summaryElements(summary: ObjectSummary): string {
  const { checksum } = summary;
  return (
    element('LastModified', isoTime(summary.lastModifiedMs)) +
    element('ETag', quoted(summary.etag)) +
    (checksum === undefined
      ? ''
      : element('ChecksumAlgorithm', checksum.algorithm) + element('ChecksumType', checksum.type)) +
    element('Size', summary.sizeBytes) +
    element('StorageClass', summary.storageClass)
  );
}

const tokenVersion = '1';

/** Where the next page begins, in a form that clients can't take for a key. */
export function continuationToken(startAfter: string): string {
  return Buffer.from(tokenVersion + startAfter, 'utf8').toString('base64url');
}

/** @throws S3Error InvalidArgument unless `continuationToken` made it. */
export function readContinuationToken(token: string): string {
  const bytes = Buffer.from(token, 'base64url');
  const text = bytes.toString('utf8');
  if (!text.startsWith(tokenVersion) || continuationToken(text.slice(1)) !== token) {
    throw new S3Error('InvalidArgument', 'The continuation token provided is incorrect', {
      ArgumentName: 'continuation-token',
    });
  }
  return text.slice(1);
}
