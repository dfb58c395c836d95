import { createCipheriv, createHash } from 'node:crypto';

/** Bytes that follow from their name: whoever reads them knows whether they are right. */
export function contentOf(name: string, sizeBytes: number): Buffer {
  const key = createHash('sha256').update(name).digest();
  const cipher = createCipheriv('aes-256-ctr', key, Buffer.alloc(16));
  return cipher.update(Buffer.alloc(sizeBytes));
}

/** A version of an object: what was written, or that it was deleted. */
export interface Value {
  /** Undefined: no object. */
  readonly name: string | undefined;
  readonly sizeBytes: number;
}

export const absent: Value = { name: undefined, sizeBytes: 0 };

/** Whether an answer's body is this version's. */
export function isContent(value: Value, body: Buffer): boolean {
  return (
    value.name !== undefined &&
    body.byteLength === value.sizeBytes &&
    body.equals(contentOf(value.name, value.sizeBytes))
  );
}
