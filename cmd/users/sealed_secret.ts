import { createCipheriv, createDecipheriv, createHmac } from 'node:crypto';

const nonceBytes = 12;
const tagBytes = 16;

/** A stored secret isn't what was stored, or was sealed in another cluster. */
export class SealedSecretError extends Error {
  override readonly name = 'SealedSecretError';
}

/**
 * Secrets of keys as they lie in the database: AES-256-GCM under a key derived from the cluster secret, which every
 * gateway has and no database row holds. Each is bound to its access key id, so rows can't be swapped.
 */
export class SecretSealer {
  readonly #key: Buffer;
  readonly #randomBytes: (length: number) => Uint8Array;

  constructor(options: {
    readonly clusterSecret: Uint8Array;
    readonly randomBytes: (length: number) => Uint8Array;
  }) {
    this.#key = createHmac('sha256', options.clusterSecret).update('s3d user secrets v1').digest();
    this.#randomBytes = options.randomBytes;
  }

  seal(secret: string, accessKeyId: string): Uint8Array {
    const nonce = this.#randomBytes(nonceBytes);
    const cipher = createCipheriv('aes-256-gcm', this.#key, nonce).setAAD(Buffer.from(accessKeyId, 'utf8'));
    return new Uint8Array(
      Buffer.concat([nonce, cipher.update(secret, 'utf8'), cipher.final(), cipher.getAuthTag()]),
    );
  }

  /** @throws SealedSecretError */
  open(sealed: Uint8Array, accessKeyId: string): string {
    try {
      const decipher = createDecipheriv('aes-256-gcm', this.#key, sealed.subarray(0, nonceBytes), {
        authTagLength: tagBytes,
      })
        .setAAD(Buffer.from(accessKeyId, 'utf8'))
        .setAuthTag(sealed.subarray(-tagBytes));
      const text = Buffer.concat([decipher.update(sealed.subarray(nonceBytes, -tagBytes)), decipher.final()]);
      return text.toString('utf8');
    } catch (cause) {
      throw new SealedSecretError(
        `the secret of ${accessKeyId} can't be opened: was the cluster secret replaced?`,
        {
          cause,
        },
      );
    }
  }
}
