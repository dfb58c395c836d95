import { createHash, type Hash } from 'node:crypto';
import { AuthError } from './errors.ts';
import type { PayloadCheck } from './request.ts';
import { emptySha256, equalInConstantTime, sha256Hex, signHex } from './signature.ts';

type ChunkedCheck = Extract<PayloadCheck, { kind: 'chunked' }>;

/** Longest chunk header: 16 digits, `;chunk-signature=`, 64 digits, and room for extensions. */
const maxChunkHeaderBytes = 1024;
/** Longest trailer line; S3's own trailers stay below 200 bytes. */
const maxTrailerLineBytes = 8192;
/** Digits of the largest size that is a safe integer. */
const maxSizeDigits = 13;

const carriageReturn = 0x0d;
const lineFeed = 0x0a;

/** No control characters: trimming must not take away what the signature ought to cover. */
const trailerLine = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([\t\x20-\x7e]*)$/;
const signatureExtension = /^chunk-signature=([0-9a-f]{64})$/;

/**
 * What the decoder reads next. `header`: a chunk's first line. `data`: its bytes. `dataEnd`: the line end after
 * them. `trailers`: lines up to an empty one. `closing`: one more line end that some clients send. `done`: nothing.
 */
type State = 'header' | 'data' | 'dataEnd' | 'trailers' | 'closing' | 'done';

function incomplete(message: string): AuthError {
  return new AuthError('IncompleteBody', message);
}

function malformedTrailer(message: string): AuthError {
  return new AuthError('MalformedTrailerError', `The trailer is malformed: ${message}`);
}

function trailerMissing(): AuthError {
  return malformedTrailer('an announced trailer or its signature is missing.');
}

/**
 * Undoes `aws-chunked`, a piece of input at a time: `push` every piece, then `finish`.
 *
 * Payload bytes come out as views of the input. What is kept between pieces is at most one line of framing.
 *
 *     chunk     = 1*HEX [ ";chunk-signature=" 64HEX ] CRLF data CRLF
 *     last      = "0" [ ";chunk-signature=" 64HEX ] CRLF
 *     trailer   = name ":" value CRLF
 *     body      = *chunk last *trailer [ "x-amz-trailer-signature:" 64HEX CRLF ] CRLF
 *
 * Beyond that, as minio-go sends it: trailer lines that end in a bare LF, one empty line in front of the trailer
 * signature, and one more empty line after the end.
 *
 * Source: "Transferring Payload in Multiple Chunks" and "Including Trailing Headers" (S3 API reference).
 */
export class ChunkDecoder {
  readonly trailers = new Map<string, string>();
  readonly #check: ChunkedCheck;
  readonly #missingTrailers: Set<string>;
  #state: State = 'header';
  /** Bytes of the current chunk that are still to come. */
  #remainingBytes = 0;
  readonly #line = Buffer.alloc(maxTrailerLineBytes);
  #lineLength = 0;
  /** The signature the next one is chained to. */
  #previousSignature: string;
  #claimedSignature = '';
  #chunkHash: Hash | undefined;
  /** `name:value` lines as signed. */
  #signedTrailers = '';
  #needsTrailerSignature: boolean;
  #blankLineSeen = false;

  constructor(check: ChunkedCheck) {
    this.#check = check;
    this.#missingTrailers = new Set(check.trailer ? check.trailerNames : []);
    this.#previousSignature = check.signing?.seedSignature ?? '';
    this.#needsTrailerSignature = check.trailer && check.signing !== undefined;
  }

  /**
   * Takes a piece of input and yields the payload in it.
   *
   * @throws AuthError on malformed framing or a wrong signature; the decoder is then of no more use.
   */
  *push(piece: Uint8Array): Generator<Uint8Array> {
    let at = 0;
    while (at < piece.length) {
      if (this.#state === 'data') {
        const end = Math.min(piece.length, at + this.#remainingBytes);
        const data = piece.subarray(at, end);
        this.#remainingBytes -= data.length;
        this.#chunkHash?.update(data);
        if (this.#remainingBytes === 0) this.#state = 'dataEnd';
        at = end;
        yield data;
      } else {
        at = this.#readLine(piece, at);
      }
    }
  }

  /** @throws AuthError `IncompleteBody` if the end hasn't been reached. */
  finish(): void {
    if (this.#state === 'done' || (this.#state === 'closing' && this.#lineLength === 0)) return;
    if (this.#state === 'trailers' && this.#blankLineSeen && this.#lineLength === 0) throw trailerMissing();
    throw incomplete('The request body terminated unexpectedly.');
  }

  /** Takes in bytes up to the end of a line, or of the piece; returns how far it got. */
  #readLine(piece: Uint8Array, from: number): number {
    const lineEnd = piece.indexOf(lineFeed, from);
    const end = lineEnd < 0 ? piece.length : lineEnd;
    if (this.#lineLength + (end - from) > this.#maxLineBytes()) throw this.#lineTooLong();
    this.#line.set(piece.subarray(from, end), this.#lineLength);
    this.#lineLength += end - from;
    if (lineEnd < 0) return end;
    const hasReturn = this.#lineLength > 0 && this.#line[this.#lineLength - 1] === carriageReturn;
    const text = this.#line.toString('latin1', 0, hasReturn ? this.#lineLength - 1 : this.#lineLength);
    this.#lineLength = 0;
    this.#takeLine(text, hasReturn);
    return lineEnd + 1;
  }

  #maxLineBytes(): number {
    switch (this.#state) {
      case 'header':
        return maxChunkHeaderBytes;
      case 'trailers':
        return maxTrailerLineBytes;
      case 'data':
      case 'dataEnd':
      case 'closing':
        return 1;
      case 'done':
        return 0;
    }
  }

  #lineTooLong(): AuthError {
    switch (this.#state) {
      case 'header':
        return new AuthError('InvalidChunkSizeError', 'The header of a chunk is too long.');
      case 'trailers':
        return malformedTrailer('a line is too long.');
      case 'data':
      case 'dataEnd':
        return incomplete('A chunk is longer than its size says.');
      case 'closing':
      case 'done':
        return new AuthError('InvalidRequest', 'The request body goes on after its last chunk.');
    }
  }

  #takeLine(line: string, hasReturn: boolean): void {
    switch (this.#state) {
      case 'header':
        if (!hasReturn)
          throw new AuthError('InvalidChunkSizeError', 'The header of a chunk must end in CRLF.');
        this.#takeHeader(line);
        return;
      case 'data':
      case 'dataEnd':
        if (!hasReturn || line !== '') throw incomplete('A chunk is longer than its size says.');
        this.#checkChunk();
        this.#state = 'header';
        return;
      case 'trailers':
        this.#takeTrailerLine(line);
        return;
      case 'closing':
      case 'done':
        if (this.#state === 'done' || !hasReturn || line !== '') throw this.#lineTooLong();
        this.#state = 'done';
    }
  }

  #takeHeader(line: string): void {
    const semicolon = line.indexOf(';');
    const digits = semicolon < 0 ? line : line.slice(0, semicolon);
    if (!/^[0-9a-fA-F]+$/.test(digits) || digits.replace(/^0+/, '').length > maxSizeDigits) {
      throw new AuthError('InvalidChunkSizeError', 'The size of a chunk must be a hexadecimal number.');
    }
    if (this.#check.signing !== undefined) {
      const extension = semicolon < 0 ? null : signatureExtension.exec(line.slice(semicolon + 1));
      if (extension?.[1] === undefined) {
        throw new AuthError('SignatureDoesNotMatch', 'A chunk has no valid chunk-signature.');
      }
      this.#claimedSignature = extension[1];
    }
    this.#remainingBytes = Number.parseInt(digits, 16);
    if (this.#remainingBytes > 0) {
      if (this.#check.signing !== undefined) this.#chunkHash = createHash('sha256');
      this.#state = 'data';
      return;
    }
    this.#checkChunk();
    this.#state = 'trailers';
  }

  /** Checks the signature of the chunk that has just ended. */
  #checkChunk(): void {
    const { signing } = this.#check;
    if (signing === undefined) return;
    const contentHash = this.#chunkHash?.digest('hex') ?? emptySha256;
    this.#chunkHash = undefined;
    this.#checkLink('AWS4-HMAC-SHA256-PAYLOAD', `${emptySha256}\n${contentHash}`, this.#claimedSignature);
  }

  #checkLink(algorithm: string, hashes: string, claimed: string): void {
    const { signing } = this.#check;
    if (signing === undefined) return;
    const text = [algorithm, signing.timestamp, signing.scope, this.#previousSignature, hashes].join('\n');
    const signature = signHex(signing.signingKey, text);
    if (!equalInConstantTime(signature, claimed)) {
      throw new AuthError(
        'SignatureDoesNotMatch',
        'The signature we calculated for a part of the payload does not match the signature you provided.',
      );
    }
    this.#previousSignature = signature;
  }

  #takeTrailerLine(line: string): void {
    if (line === '') {
      if (this.#missingTrailers.size === 0 && !this.#needsTrailerSignature) {
        this.#state = 'closing';
        return;
      }
      if (this.#blankLineSeen) throw trailerMissing();
      this.#blankLineSeen = true;
      return;
    }
    const match = trailerLine.exec(line);
    if (match === null) throw malformedTrailer('expecting name:value in printable ASCII.');
    const name = (match[1] ?? '').toLowerCase();
    const value = (match[2] ?? '').trim();
    if (this.#needsTrailerSignature && name === 'x-amz-trailer-signature') {
      if (this.#missingTrailers.size > 0) throw malformedTrailer('an announced trailer is missing.');
      this.#checkLink(
        'AWS4-HMAC-SHA256-TRAILER',
        sha256Hex(Buffer.from(this.#signedTrailers, 'latin1')),
        value,
      );
      this.#needsTrailerSignature = false;
      return;
    }
    if (!this.#missingTrailers.delete(name)) {
      throw malformedTrailer('a trailer was not announced in x-amz-trailer, or is given twice.');
    }
    this.trailers.set(name, value);
    this.#signedTrailers += `${name}:${value}\n`;
  }
}
