import type { ObjectHead } from '../../backend/backend.ts';
import { S3Error } from '../errors.ts';
import type { Call } from '../exchange.ts';
import { xmlReply } from '../http/reply.ts';
import type { Operation } from '../operation.ts';
import { checksumElements } from '../request/checksums.ts';
import { given, invalidArgument } from '../request/parameters.ts';
import { readObject } from '../request/read_request.ts';
import { element, parent, root } from '../xml/write.ts';

const attributes: ReadonlySet<string> = new Set([
  'ETag',
  'Checksum',
  'ObjectParts',
  'StorageClass',
  'ObjectSize',
]);

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectAttributes.html */
export const getObjectAttributes: Operation = {
  name: 'GetObjectAttributes',
  async handle(call) {
    const asked = new Set(
      (call.headers.get('x-amz-object-attributes') ?? '').split(',').map((name) => name.trim()),
    );
    if (asked.size === 0 || [...asked].some((name) => !attributes.has(name))) {
      throw new S3Error('InvalidArgument', 'Invalid attribute name specified.', {
        ArgumentName: 'x-amz-object-attributes',
      });
    }
    const page = partsPage(call);
    const object = await readObject(call, (request) =>
      // One more than is shown tells whether there are more.
      call.services.backend.headObject({ ...request, parts: { after: page.after, max: page.max + 1 } }),
    );
    return xmlReply(
      root(
        'GetObjectAttributesResponse',
        asked.has('ETag') ? element('ETag', object.etag) : '',
        asked.has('Checksum') && object.checksum !== undefined
          ? parent('Checksum', checksumElements(object.checksum))
          : '',
        asked.has('ObjectParts') ? partsElement(object, page) : '',
        asked.has('StorageClass') ? element('StorageClass', object.storageClass) : '',
        asked.has('ObjectSize') ? element('ObjectSize', object.sizeBytes) : '',
      ),
      {
        headers: {
          'last-modified': new Date(object.lastModifiedMs).toUTCString(),
          ...given('x-amz-version-id', object.versionId),
        },
      },
    );
  },
};

interface PartsPage {
  readonly after: number;
  readonly max: number;
}

const maxParts = 1000;

function partsPage(call: Call): PartsPage {
  return {
    after: count(call, 'x-amz-part-number-marker') ?? 0,
    max: Math.min(count(call, 'x-amz-max-parts') ?? maxParts, maxParts),
  };
}

function count(call: Call, header: string): number | undefined {
  const text = call.headers.get(header);
  if (text === undefined) return undefined;
  if (!/^\d{1,9}$/.test(text)) throw invalidArgument(header, text, `${header} must be a number of parts.`);
  return Number(text);
}

/** Nothing for an object that was put as one piece. */
function partsElement(object: ObjectHead, page: PartsPage): string {
  if (object.partsCount === undefined) return '';
  const found = object.parts ?? [];
  const shown = found.slice(0, page.max);
  return parent(
    'ObjectParts',
    element('PartsCount', object.partsCount),
    element('PartNumberMarker', page.after),
    element('NextPartNumberMarker', shown.at(-1)?.partNumber ?? page.after),
    element('MaxParts', page.max),
    element('IsTruncated', found.length > shown.length),
    ...shown.map((part) =>
      parent(
        'Part',
        element('PartNumber', part.partNumber),
        element('Size', part.sizeBytes),
        checksumElements(part.checksum, { type: false }),
      ),
    ),
  );
}
