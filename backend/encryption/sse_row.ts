import type { ObjectEncryption } from '../backend.ts';
import { CorruptRecordError, type RecordFields } from '../engine/record.ts';

/** What an object (or an upload) says of its encryption; part of its row. Encryption at rest alone says nothing. */
export type SseRow =
  | { readonly type: 'AES256' }
  | {
      readonly type: 'aws:kms';
      /** As the client named it. */
      readonly keyId: string;
      /** Canonical bytes of the encryption context. */
      readonly context: Uint8Array;
      readonly bucketKey: boolean;
    }
  | {
      readonly type: 'customer';
      /** What tells the client's key from another: salt and digest. */
      readonly check: Uint8Array;
    };

/** @throws CorruptRecordError */
export function sseOf(fields: RecordFields): SseRow {
  const type = fields.text('type');
  switch (type) {
    case 'AES256':
      return { type };
    case 'aws:kms':
      return {
        type,
        keyId: fields.text('keyId'),
        context: fields.bytes('context'),
        bucketKey: fields.boolean('bucketKey'),
      };
    case 'customer':
      return { type, check: fields.bytes('check') };
    default:
      throw new CorruptRecordError(`no encryption is called ${type}`);
  }
}

/** What may be told of it. */
export function encryptionOf(sse: SseRow): ObjectEncryption {
  if (sse.type === 'aws:kms') return { type: sse.type, keyId: sse.keyId, bucketKey: sse.bucketKey };
  return { type: sse.type };
}
