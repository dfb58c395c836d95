import { randomFillSync } from 'node:crypto';

const pattern = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/i;

/** 16 bytes, or undefined when the text is no UUIDv7 (RFC 9562). */
export function parseRequestId(text: string): Uint8Array | undefined {
  if (!pattern.test(text)) return undefined;
  return new Uint8Array(Buffer.from(text.replaceAll('-', ''), 'hex'));
}

export function formatRequestId(id: Uint8Array): string {
  const hex = Buffer.from(id.buffer, id.byteOffset, id.byteLength).toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

/** A new UUIDv7: 48 bits of `nowMs`, the rest random. */
export function mintRequestId(nowMs: number): Uint8Array {
  const id = Buffer.allocUnsafe(16);
  id.writeUIntBE(Math.floor(nowMs), 0, 6);
  randomFillSync(id, 6, 10);
  id.writeUInt8((id.readUInt8(6) & 0x0f) | 0x70, 6);
  id.writeUInt8((id.readUInt8(8) & 0x3f) | 0x80, 8);
  return new Uint8Array(id.buffer, id.byteOffset, 16);
}

/** When its maker says it was minted, milliseconds of the epoch. */
export function requestIdTimeMs(id: Uint8Array): number {
  return Buffer.from(id.buffer, id.byteOffset, id.byteLength).readUIntBE(0, 6);
}
