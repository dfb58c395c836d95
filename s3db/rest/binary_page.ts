import { ByteReader, ByteWriter } from '../../wal/byte_codec.ts';
import type { ScanPage } from '../database.ts';

/** A batch in the form of command.ts, and a page in the form below: what our own client speaks instead of JSON. */
export const binaryBatchType = 'application/x-s3db-batch';
export const binaryPageType = 'application/x-s3db-page';

const truncatedFlag = 1;
const nextFlag = 2;
const format = 1;

export function encodePage(page: ScanPage): Uint8Array {
  let hint = 32;
  for (const item of page.items) hint += item.key.length + item.value.length + 8;
  for (const prefix of page.prefixes) hint += prefix.length + 4;
  const out = new ByteWriter(hint);
  out.u8(format);
  out.u8((page.truncated ? truncatedFlag : 0) | (page.next === undefined ? 0 : nextFlag));
  out.varint(page.items.length);
  for (const item of page.items) {
    out.bytes(item.key);
    out.bytes(item.value);
  }
  out.varint(page.prefixes.length);
  for (const prefix of page.prefixes) out.bytes(prefix);
  if (page.next !== undefined) out.bytes(page.next);
  return out.finish();
}

/** Views into `bytes`. @throws MalformedBytesError */
export function decodePage(bytes: Uint8Array): ScanPage {
  const input = new ByteReader(bytes);
  const known = input.u8();
  if (known !== format) throw new Error(`a page of format ${known}, not known here`);
  const flags = input.u8();
  const items = Array.from({ length: input.varint() }, () => ({ key: input.bytes(), value: input.bytes() }));
  const prefixes = Array.from({ length: input.varint() }, () => input.bytes());
  const next = (flags & nextFlag) === 0 ? {} : { next: input.bytes() };
  input.end();
  return { items, prefixes, truncated: (flags & truncatedFlag) !== 0, ...next };
}
