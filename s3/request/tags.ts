import type { Tags } from '../../backend/backend.ts';
import { S3Error } from '../errors.ts';
import type { RequestHeaders } from '../http/headers.ts';
import { decodeForm } from '../http/percent.ts';
import { readXml } from '../xml/read.ts';
import { element, parent, root } from '../xml/write.ts';

/** https://docs.aws.amazon.com/AmazonS3/latest/userguide/tagging-managing.html */
export const maxObjectTags = 10;
export const maxBucketTags = 50;
const maxKeyLength = 128;
const maxValueLength = 256;
const allowed = /^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$/u;
const header = 'x-amz-tagging';

/**
 * Reads a `<Tagging>` document.
 * @throws S3Error MalformedXML, InvalidTag
 */
export function readTagging(xml: Uint8Array, options: { readonly maxTags: number }): Tags {
  const [set, ...others] = readXml(xml, 'Tagging').all('TagSet');
  if (set === undefined || others.length > 0) throw new S3Error('MalformedXML');
  const tags = set.all('Tag').map((tag): [string, string] => {
    return [tag.requiredText('Key'), tag.requiredText('Value')];
  });
  return checked(tags, options.maxTags);
}

/**
 * The tags in `x-amz-tagging`: pairs as in a query.
 * @returns undefined where the header isn't there.
 * @throws S3Error InvalidArgument, InvalidTag
 */
export function taggingHeader(headers: RequestHeaders): Tags | undefined {
  const text = headers.get(header);
  if (text === undefined) return undefined;
  const tags = text
    .split('&')
    .filter((pair) => pair !== '')
    .map((pair): [string, string] => {
      const at = pair.indexOf('=');
      return at < 0 ? [decoded(pair), ''] : [decoded(pair.slice(0, at)), decoded(pair.slice(at + 1))];
    });
  return checked(tags, maxObjectTags);
}

function decoded(text: string): string {
  try {
    return decodeForm(text);
  } catch (error) {
    if (!(error instanceof S3Error)) throw error;
    throw new S3Error(
      'InvalidArgument',
      `The header '${header}' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.`,
      { ArgumentName: header },
    );
  }
}

function checked(pairs: readonly (readonly [string, string])[], maxTags: number): Tags {
  if (pairs.length > maxTags) throw invalidTag(`Tags cannot be greater than ${maxTags}`);
  for (const [key, value] of pairs) {
    if (key === '' || lengthOf(key) > maxKeyLength || !allowed.test(key) || key.startsWith('aws:')) {
      throw invalidTag('The TagKey you have provided is invalid', key);
    }
    if (lengthOf(value) > maxValueLength || !allowed.test(value)) {
      throw invalidTag('The TagValue you have provided is invalid', key);
    }
  }
  const sorted = pairs.toSorted(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  const tags = new Map(sorted);
  if (tags.size < pairs.length) throw invalidTag('Cannot provide multiple Tags with the same key');
  return tags;
}

/** In Unicode characters. */
function lengthOf(text: string): number {
  return Array.from(text).length;
}

function invalidTag(message: string, key?: string): S3Error {
  return new S3Error('InvalidTag', message, key === undefined ? {} : { TagKey: key });
}

/** The `<Tagging>` document. */
export function taggingXml(tags: Iterable<readonly [string, string]>): string {
  const set = [...tags].map(([key, value]) => parent('Tag', element('Key', key), element('Value', value)));
  return root('Tagging', parent('TagSet', ...set));
}
