import { decode, encode } from 'cborg';

import type { Operation } from '../../s3db/database.ts';
import type { Locator } from '../data_store.ts';
import type { ContentLayout } from './locator.ts';

const version = 1;
const prefixText = 'repair/';

/** Under this prefix of table `state` lie the repair rows, most endangered first. FORMAT.md gives key and value. */
export const repairPrefix: Uint8Array = Buffer.from(prefixText);

/** Content with shards that are missing or damaged, as whoever noticed knew it. */
export interface RepairRow {
  readonly locator: Locator;
  readonly missing: readonly number[];
}

/** Writes a repair row. Noticing the same again writes the same row. */
export function repairOperation(content: ContentLayout, row: RepairRow): Operation {
  return {
    type: 'put',
    table: 'state',
    key: repairKey(content, row.missing.length),
    value: encodeRepairRow(row),
  };
}

/** Orders rows by how many more shards may be lost before the content is. */
function repairKey(content: ContentLayout, missing: number): Uint8Array {
  const spare = Math.max(content.parity - missing, 0);
  return Buffer.concat([repairPrefix, Buffer.of(spare), content.contentId]);
}

/** Encodes a repair row's value. */
function encodeRepairRow(row: RepairRow): Uint8Array {
  return encode([version, row.locator, [...row.missing].sort((a, b) => a - b)]);
}

/** @throws Error when the bytes are no repair row that this version can read. */
export function decodeRepairRow(value: Uint8Array): RepairRow {
  const fields: unknown = decode(value);
  if (!Array.isArray(fields) || fields[0] !== version || fields.length !== 3) {
    throw new Error('the repair row is of an unknown version');
  }
  const [, locator, missing] = fields as readonly unknown[];
  if (!(locator instanceof Uint8Array) || !Array.isArray(missing))
    throw new Error('the repair row is damaged');
  return {
    locator,
    missing: missing.map((index: unknown) => {
      if (typeof index !== 'number' || !Number.isInteger(index)) throw new Error('the repair row is damaged');
      return index;
    }),
  };
}
