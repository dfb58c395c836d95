import { S3Error } from '../errors.ts';
import { xmlReply } from '../http/reply.ts';
import type { Operation } from '../operation.ts';
import { checksumElements } from '../request/checksums.ts';
import { given } from '../request/parameters.ts';
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
    const object = await readObject(call, (request) => call.services.backend.headObject(request));
    const partsCount = asked.has('ObjectParts') ? object.partsCount : undefined;
    return xmlReply(
      root(
        'GetObjectAttributesResponse',
        asked.has('ETag') ? element('ETag', object.etag) : '',
        asked.has('Checksum') && object.checksum !== undefined
          ? parent('Checksum', checksumElements(object.checksum))
          : '',
        partsCount === undefined ? '' : parent('ObjectParts', element('PartsCount', partsCount)),
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
