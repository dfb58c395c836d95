import type { VersionSummary } from '../../backend/backend.ts';
import { authorize } from '../authorization.ts';
import { xmlReply } from '../http/reply.ts';
import type { Operation } from '../operation.ts';
import {
  commonPrefixes,
  type NameEncoding,
  nameEncoding,
  ownerElement,
  summaryElements,
} from '../request/listing.ts';
import { given, invalidArgument, optional, pageSize } from '../request/parameters.ts';
import { element, isoTime, parent, root } from '../xml/write.ts';

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectVersions.html */
export const listObjectVersions: Operation = {
  name: 'ListObjectVersions',
  async handle(call) {
    const { query } = call;
    const encoding = nameEncoding(query);
    const prefix = query.get('prefix') ?? '';
    const delimiter = optional(query, 'delimiter');
    const keyMarker = query.get('key-marker') ?? '';
    const versionIdMarker = query.get('version-id-marker') ?? '';
    const maxKeys = pageSize(query, 'max-keys');
    if (versionIdMarker !== '' && keyMarker === '') {
      throw invalidArgument(
        'version-id-marker',
        versionIdMarker,
        'A version-id marker cannot be specified without a key marker.',
      );
    }
    const page = await call.services.backend.listObjectVersions({
      bucket: call.bucket,
      prefix,
      maxKeys,
      authorize: authorize(call, 's3:ListBucketVersions'),
      signal: call.signal,
      ...given('delimiter', delimiter),
      ...given('keyMarker', keyMarker === '' ? undefined : keyMarker),
      ...given('versionIdMarker', versionIdMarker === '' ? undefined : versionIdMarker),
    });
    const truncated = maxKeys > 0 && page.nextKeyMarker !== undefined;
    const body = root(
      'ListVersionsResult',
      element('Name', call.bucket),
      encoding.name('Prefix', prefix),
      encoding.name('KeyMarker', keyMarker),
      element('VersionIdMarker', versionIdMarker),
      truncated ? encoding.name('NextKeyMarker', page.nextKeyMarker) : '',
      truncated ? element('NextVersionIdMarker', page.nextVersionIdMarker) : '',
      element('MaxKeys', maxKeys),
      encoding.name('Delimiter', delimiter),
      element('EncodingType', encoding.type),
      element('IsTruncated', truncated),
      ...page.versions.map((version) => versionElement(version, encoding)),
      commonPrefixes(page.prefixes, encoding),
    );
    return xmlReply(body);
  },
};

function versionElement(version: VersionSummary, encoding: NameEncoding): string {
  const identity =
    encoding.name('Key', version.key) +
    element('VersionId', version.versionId) +
    element('IsLatest', version.isLatest);
  const owner = ownerElement('Owner', version.owner);
  return version.deleteMarker
    ? parent('DeleteMarker', identity, element('LastModified', isoTime(version.lastModifiedMs)), owner)
    : parent('Version', identity, summaryElements(version), owner);
}
