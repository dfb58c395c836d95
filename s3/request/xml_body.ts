import { createHash } from 'node:crypto';
import { decodePayload } from '../../auth/payload.ts';
import { S3Error } from '../errors.ts';
import type { Call } from '../exchange.ts';
import { checksumHeader, contentMd5, declaredChecksum } from './checksums.ts';

/**
 * Reads a body of XML whole and verifies what it came with: its signature, Content-MD5 and checksum.
 * @param options.digestRequired S3 wants a Content-MD5 or a checksum for this operation.
 * @throws S3Error MaxMessageLengthExceeded, InvalidRequest, BadDigest, InvalidDigest
 */
export async function readXmlBody(
  call: Call,
  options: { readonly maxBytes: number; readonly digestRequired?: boolean },
): Promise<Uint8Array> {
  const md5 = contentMd5(call.headers);
  const declared = declaredChecksum(call.headers);
  if (options.digestRequired === true && md5 === undefined && declared === undefined) {
    throw new S3Error(
      'InvalidRequest',
      'Missing required header for this request: Content-MD5 OR x-amz-checksum-*',
    );
  }
  const payload = decodePayload(call.body, call.payload);
  const pieces: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const piece of payload.stream) {
    sizeBytes += piece.length;
    if (sizeBytes > options.maxBytes) throw new S3Error('EntityTooLargeXml');
    // The piece may be a view of a much bigger buffer, but not of one that is written again.
    pieces.push(piece);
  }
  const bytes = Buffer.concat(pieces, sizeBytes);
  if (md5 !== undefined && !createHash('md5').update(bytes).digest().equals(md5))
    throw new S3Error('BadDigest');
  if (declared !== undefined) {
    const summer = (await call.services.checksums()).create(declared.algorithm);
    summer.update(bytes);
    const expected = declared.value ?? payload.trailers().get(checksumHeader(declared.algorithm));
    if (Buffer.from(summer.digest()).toString('base64') !== expected) {
      throw new S3Error(
        'BadDigest',
        `The ${declared.algorithm} you specified did not match the calculated checksum.`,
      );
    }
  }
  return bytes;
}
