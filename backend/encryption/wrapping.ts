import { createCipheriv, createDecipheriv, createHmac } from 'node:crypto';
import { SealDamagedError } from './errors.ts';

export const keyBytes = 32;
const fingerprintBytes = 8;
const nonceBytes = 12;
const tagBytes = 16;

/**
 * What a data key is wrapped for. Unwrapping for anything else fails, so that a wrapped key can't be moved to other
 * content, nor be used with another context.
 */
export interface WrapPurpose {
  readonly contentId: Uint8Array;
  /** Canonical bytes of a KMS encryption context; empty where there is none. */
  readonly context: Uint8Array;
}

/** Tells keys from one another without telling anything else of them. */
export function fingerprintOf(key: Uint8Array): Uint8Array {
  return new Uint8Array(
    createHmac('sha256', key).update('s3d key fingerprint v1').digest().subarray(0, fingerprintBytes),
  );
}

/**
 * AES-256-GCM under a key derived from the wrapping key for this very content, so that a wrapping key never wears out:
 * FORMAT.md in `../frames` gives the bytes.
 * @param nonce 12 random bytes.
 */
export function wrapDataKey(
  dataKey: Uint8Array,
  options: { readonly under: Uint8Array; readonly purpose: WrapPurpose; readonly nonce: Uint8Array },
): Uint8Array {
  const cipher = createCipheriv('aes-256-gcm', derive(options.under, options.purpose), options.nonce);
  const sealed = Buffer.concat([options.nonce, cipher.update(dataKey), cipher.final(), cipher.getAuthTag()]);
  return new Uint8Array(sealed);
}

/** @throws SealDamagedError when the wrapped bytes, or what they are for, aren't what they were. */
export function unwrapDataKey(
  wrapped: Uint8Array,
  options: { readonly under: Uint8Array; readonly purpose: WrapPurpose },
): Uint8Array {
  if (wrapped.length !== nonceBytes + keyBytes + tagBytes) {
    throw new SealDamagedError(
      `a wrapped key has ${nonceBytes + keyBytes + tagBytes} bytes, not ${wrapped.length}`,
    );
  }
  const decipher = createDecipheriv(
    'aes-256-gcm',
    derive(options.under, options.purpose),
    wrapped.subarray(0, nonceBytes),
  );
  decipher.setAuthTag(wrapped.subarray(nonceBytes + keyBytes));
  const opened = decipher.update(wrapped.subarray(nonceBytes, nonceBytes + keyBytes));
  try {
    decipher.final();
  } catch (cause) {
    throw new SealDamagedError('the wrapped key of the content is damaged', { cause });
  }
  return new Uint8Array(opened);
}

/** HMAC-SHA256 over the label, the content id and the length-prefixed context. */
function derive(key: Uint8Array, purpose: WrapPurpose): Uint8Array {
  const contextLength = Buffer.alloc(4);
  contextLength.writeUInt32BE(purpose.context.length);
  return createHmac('sha256', key)
    .update('s3d key wrap v1\0')
    .update(purpose.contentId)
    .update(contextLength)
    .update(purpose.context)
    .digest();
}
