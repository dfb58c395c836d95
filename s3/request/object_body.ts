import { decodePayload } from '../../auth/payload.ts';
import type { IncomingBody } from '../../backend/backend.ts';
import { S3Error } from '../errors.ts';
import type { Call } from '../exchange.ts';
import { checkedChecksum, checksumHeader, contentMd5, declaredChecksum } from './checksums.ts';

/**
 * The body of a PutObject or UploadPart, as the backend wants it. Nothing is read yet.
 * @throws S3Error MissingContentLength, EntityTooLarge, InvalidDigest, InvalidRequest
 */
export function objectBody(call: Call): IncomingBody {
  const sizeBytes = declaredSize(call);
  const { maxPutBytes } = call.services.limits;
  if (sizeBytes > maxPutBytes) {
    throw new S3Error('EntityTooLarge', '', {
      ProposedSize: String(sizeBytes),
      MaxSizeAllowed: String(maxPutBytes),
    });
  }
  const md5 = contentMd5(call.headers);
  const declared = declaredChecksum(call.headers);
  const payload = decodePayload(call.body, call.payload, { sizeBytes });
  const { stream } = payload;
  if (declared === undefined) {
    return { stream, sizeBytes, ...(md5 === undefined ? {} : { contentMd5: md5 }) };
  }
  const { algorithm, value } = declared;
  return {
    stream,
    sizeBytes,
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

/**
 * The payload's size without framing. Only aws-chunked bodies may come in chunked transfer encoding, since only they
 * tell their size otherwise.
 */
function declaredSize(call: Call): number {
  const header = call.payload.kind === 'chunked' ? 'x-amz-decoded-content-length' : 'content-length';
  const text = call.headers.get(header);
  if (text === undefined) throw new S3Error('MissingContentLength');
  if (!/^\d{1,15}$/.test(text)) {
    throw new S3Error('InvalidArgument', `${header} must be a number of bytes.`, { ArgumentName: header });
  }
  return Number(text);
}
