import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { ApiError } from './api_error.ts';

/** Reads a body whole. @throws ApiError TooLarge once it exceeds the limit, Unavailable when it stalls or breaks off. */
export async function readBody(
  incoming: IncomingMessage,
  limits: { readonly maxBytes: number; readonly timeoutMs: number },
): Promise<Buffer> {
  const declared = Number(incoming.headers['content-length'] ?? 0);
  if (declared > limits.maxBytes) throw tooLarge(limits.maxBytes);
  if (declared === 0 && incoming.headers['transfer-encoding'] === undefined) return Buffer.alloc(0);
  return new Promise((resolve, reject) => {
    const pieces: Buffer[] = [];
    let length = 0;
    const done = (): void => {
      clearTimeout(timer);
      incoming.off('data', onData).off('end', onEnd).off('error', onError).off('close', onClose);
    };
    const fail = (error: Error): void => {
      done();
      reject(error);
    };
    const onData = (piece: Buffer): void => {
      length += piece.length;
      if (length > limits.maxBytes) fail(tooLarge(limits.maxBytes));
      else pieces.push(piece);
    };
    const onEnd = (): void => {
      done();
      resolve(pieces.length === 1 && pieces[0] !== undefined ? pieces[0] : Buffer.concat(pieces, length));
    };
    const onError = (error: Error): void =>
      fail(new ApiError('InvalidRequest', `the body broke off: ${error.message}`));
    const onClose = (): void => fail(new ApiError('InvalidRequest', 'the body broke off'));
    const timer = setTimeout(
      () => fail(new ApiError('Unavailable', 'the body did not come in time')),
      limits.timeoutMs,
    );
    incoming.on('data', onData).on('end', onEnd).on('error', onError).on('close', onClose);
  });
}

export function sha256Hex(body: Uint8Array): string {
  return createHash('sha256').update(body).digest('hex');
}

export function sameHex(a: string, b: string): boolean {
  const x = Buffer.from(a, 'latin1');
  const y = Buffer.from(b.toLowerCase(), 'latin1');
  return x.length === y.length && timingSafeEqual(x, y);
}

function tooLarge(maxBytes: number): ApiError {
  return new ApiError('TooLarge', `a body holds at most ${maxBytes} bytes`);
}
