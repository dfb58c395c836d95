import { decodePayload } from '../../auth/payload.ts';
import type { IncomingBody } from '../../backend/backend.ts';
import { S3Error } from '../errors.ts';
import type { Call } from '../exchange.ts';
import { given } from './parameters.ts';
import { checkedChecksum, checksumHeader, contentMd5, declaredChecksum } from './checksums.ts';

/**
 * The body of a PutObject or UploadPart, as the backend wants it. Nothing is read yet.
 * @throws S3Error MissingContentLength, EntityTooLarge, InvalidDigest, InvalidRequest
 */
export function objectBody(call: Call): IncomingBody {
  const sizeBytes = declaredSize(call);
  const { maxPutBytes } = call.services.limits;
  if (sizeBytes !== undefined) checkSize(sizeBytes, maxPutBytes);
  const md5 = contentMd5(call.headers);
  const declared = declaredChecksum(call.headers);
  const payload = decodePayload(call.body, call.payload, given('sizeBytes', sizeBytes));
  const stream = sizeBytes === undefined ? atMost(payload.stream, maxPutBytes) : payload.stream;
  const size = given('sizeBytes', sizeBytes);
  if (declared === undefined) {
    return { stream, ...size, ...(md5 === undefined ? {} : { contentMd5: md5 }) };
  }
  const { algorithm, value } = declared;
  return {
    stream,
    ...size,
    ...(md5 === undefined ? {} : { contentMd5: md5 }),
    checksum: {
      algorithm,
      value: () => value ?? trailingChecksum(),
    },
  };

  function trailingChecksum(): string {
    const trailer = payload.trailers().get(checksumHeader(algorithm));
    if (trailer === undefined) {
      throw new S3Error(
        'MalformedTrailerError',
        `The trailer ${checksumHeader(algorithm)} was announced but didn't come.`,
      );
    }
    return checkedChecksum(algorithm, trailer);
  }
}

function checkSize(sizeBytes: number, maxBytes: number): void {
  if (sizeBytes <= maxBytes) return;
  throw new S3Error('EntityTooLarge', '', {
    ProposedSize: String(sizeBytes),
    MaxSizeAllowed: String(maxBytes),
  });
}

async function* atMost(stream: AsyncIterable<Uint8Array>, maxBytes: number): AsyncGenerator<Uint8Array> {
  let sizeBytes = 0;
  for await (const piece of stream) {
    sizeBytes += piece.length;
    checkSize(sizeBytes, maxBytes);
    yield piece;
  }
}

/**
 * The file of a form, of which only the form's policy says how long it may be.
 * @throws S3Error InvalidDigest, InvalidRequest; the stream throws EntityTooLarge and EntityTooSmall.
 */
export function formBody(
  call: Call,
  file: { readonly stream: AsyncIterable<Uint8Array>; readonly minBytes: number; readonly maxBytes: number },
): IncomingBody {
  const md5 = contentMd5(call.headers);
  const declared = declaredChecksum(call.headers);
  const { maxPutBytes } = call.services.limits;
  return {
    stream: within(file.stream, { ...file, maxBytes: Math.min(file.maxBytes, maxPutBytes) }),
    ...(md5 === undefined ? {} : { contentMd5: md5 }),
    ...(declared === undefined
      ? {}
      : { checksum: { algorithm: declared.algorithm, value: () => declared.value } }),
  };
}

async function* within(
  stream: AsyncIterable<Uint8Array>,
  range: { readonly minBytes: number; readonly maxBytes: number },
): AsyncGenerator<Uint8Array> {
  let sizeBytes = 0;
  for await (const piece of stream) {
    sizeBytes += piece.length;
    if (sizeBytes > range.maxBytes) {
      throw new S3Error('EntityTooLarge', '', { MaxSizeAllowed: String(range.maxBytes) });
    }
    yield piece;
  }
  if (sizeBytes < range.minBytes) {
    throw new S3Error('EntityTooSmall', '', {
      ProposedSize: String(sizeBytes),
      MinSizeAllowed: String(range.minBytes),
    });
  }
}

/**
 * The payload's size without framing; undefined for an aws-chunked body that doesn't tell it: there the last chunk
 * shows whether all has come. Without framing nothing else would.
 */
function declaredSize(call: Call): number | undefined {
  const chunked = call.payload.kind === 'chunked';
  const header = chunked ? 'x-amz-decoded-content-length' : 'content-length';
  const text = call.headers.get(header);
  if (text === undefined) {
    if (chunked) return undefined;
    throw new S3Error('MissingContentLength');
  }
  if (!/^\d{1,15}$/.test(text)) {
    throw new S3Error('InvalidArgument', `${header} must be a number of bytes.`, { ArgumentName: header });
  }
  return Number(text);
}
