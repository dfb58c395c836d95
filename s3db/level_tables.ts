import { Level } from 'level';
import { crc32 } from '@node-rs/crc32';
import type { Batch, Operation } from './database.ts';
import { InvalidRequestError } from './errors.ts';
import { afterPrefix, asBuffer, concatBytes, plainView } from './key_bytes.ts';

/**
 * How tables lie in one Level: a row's Level key is the table's name, a NUL byte and the row's key; its value is a
 * format byte, a CRC-32 over Level key and value (little endian), and the value. LevelDB doesn't check its blocks
 * when it reads them, so each row carries its own checksum.
 */
export type BytesLevel = Level<Uint8Array, Uint8Array>;

export type LevelOperation =
  | { readonly type: 'put'; readonly key: Uint8Array; readonly value: Uint8Array }
  | { readonly type: 'del'; readonly key: Uint8Array };

/** Conditions and operations of one batch together. */
export const maxBatchItems = 20_000;
/** Keys and values of one batch together. */
export const maxBatchBytes = 8 * 1024 * 1024;
export const maxKeyBytes = 4096;

/** A row whose bytes are not those that were written. */
export class ValueDamagedError extends Error {
  override readonly name = 'ValueDamagedError';
}

const valueFormat = 1;
const valueHeaderBytes = 5;
const tableNames = /^[a-z][a-z0-9_-]{0,63}$/;
const prefixes = new Map<string, Uint8Array>();
const maxRememberedPrefixes = 256;

/** Opens (creating it if missing) a Level whose keys and values are bytes. */
export async function openBytesLevel(
  directory: string,
  options: { readonly cacheBytes?: number } = {},
): Promise<BytesLevel> {
  const level: BytesLevel = new Level<Uint8Array, Uint8Array>(directory, {
    keyEncoding: 'view',
    valueEncoding: 'view',
    cacheSize: options.cacheBytes ?? 32 * 1024 * 1024,
    writeBufferSize: 16 * 1024 * 1024,
  });
  await level.open();
  return level;
}

/** @throws InvalidRequestError unless it is 1 to 64 of `a-z0-9_-`, starting with a letter. */
export function checkTableName(table: string): void {
  if (!tableNames.test(table)) {
    throw new InvalidRequestError(
      `table must be 1 to 64 characters of a-z, 0-9, _ and -, starting with a letter: ${JSON.stringify(table.slice(0, 80))}`,
    );
  }
}

/** What every Level key of the table starts with. */
export function tablePrefix(table: string): Uint8Array {
  const known = prefixes.get(table);
  if (known !== undefined) return known;
  checkTableName(table);
  const prefix = new Uint8Array(table.length + 1);
  prefix.set(asBuffer(Buffer.from(table, 'latin1')));
  if (prefixes.size < maxRememberedPrefixes) prefixes.set(table, prefix);
  return prefix;
}

export function encodeKey(table: string, key: Uint8Array): Uint8Array {
  return concatBytes(tablePrefix(table), key);
}

export function sealValue(levelKey: Uint8Array, value: Uint8Array): Uint8Array {
  const stored = new Uint8Array(valueHeaderBytes + value.length);
  const checksum = crc32(value, crc32(levelKey));
  stored[0] = valueFormat;
  stored[1] = checksum & 0xff;
  stored[2] = (checksum >>> 8) & 0xff;
  stored[3] = (checksum >>> 16) & 0xff;
  stored[4] = checksum >>> 24;
  stored.set(value, valueHeaderBytes);
  return stored;
}

/** The value within what Level keeps, not copied. @throws ValueDamagedError */
export function openValue(levelKey: Uint8Array, stored: Uint8Array): Uint8Array {
  if (stored.length < valueHeaderBytes || stored[0] !== valueFormat) {
    throw new ValueDamagedError(`row ${hex(levelKey)} has no format that is known (byte ${stored[0] ?? -1})`);
  }
  const value = plainView(stored, valueHeaderBytes);
  const written = asBuffer(stored).readUInt32LE(1);
  if (crc32(value, crc32(levelKey)) !== written) {
    throw new ValueDamagedError(`row ${hex(levelKey)} fails its checksum`);
  }
  return value;
}

/** @throws InvalidRequestError naming the limit that the batch exceeds. */
export function validateBatch(batch: Batch): void {
  const items = batch.conditions.length + batch.operations.length;
  if (items > maxBatchItems) {
    throw new InvalidRequestError(`a batch holds at most ${maxBatchItems} items, not ${items}`);
  }
  let bytes = 0;
  for (const condition of batch.conditions) {
    checkTableName(condition.table);
    const key = 'prefix' in condition ? condition.prefix : condition.key;
    checkKey(key);
    bytes += key.length + ('equals' in condition ? condition.equals.length : 0);
  }
  for (const operation of batch.operations) {
    checkTableName(operation.table);
    checkKey(operation.key);
    bytes += operation.key.length + (operation.type === 'put' ? operation.value.length : 0);
  }
  if (bytes > maxBatchBytes) {
    throw new InvalidRequestError(`a batch holds at most ${maxBatchBytes} bytes, not ${bytes}`);
  }
}

export function checkKey(key: Uint8Array): void {
  if (key.length > maxKeyBytes) {
    throw new InvalidRequestError(`a key holds at most ${maxKeyBytes} bytes, not ${key.length}`);
  }
}

export function toLevelOperation(operation: Operation): LevelOperation {
  const key = encodeKey(operation.table, operation.key);
  return operation.type === 'put'
    ? { type: 'put', key, value: sealValue(key, operation.value) }
    : { type: 'del', key };
}

/** The Level keys under a prefix of a table, as a half-open range. */
export function prefixRange(table: string, prefix: Uint8Array): { gte: Uint8Array; lt: Uint8Array } {
  const gte = encodeKey(table, prefix);
  const lt = afterPrefix(gte);
  if (lt === undefined) throw new Error('a table prefix always has a successor: it ends in NUL');
  return { gte, lt };
}

/** One row. @throws ValueDamagedError */
export async function getRow(
  level: BytesLevel,
  table: string,
  key: Uint8Array,
): Promise<Uint8Array | undefined> {
  const levelKey = encodeKey(table, key);
  // Level's own type forgets that a missing row is undefined.
  const stored = (await level.get(levelKey)) as Uint8Array | undefined;
  return stored === undefined ? undefined : openValue(levelKey, stored);
}

/** Several rows in the order of their keys, by one call. @throws ValueDamagedError */
export async function getRows(
  level: BytesLevel,
  gets: readonly { readonly table: string; readonly key: Uint8Array }[],
): Promise<(Uint8Array | undefined)[]> {
  const levelKeys = gets.map(({ table, key }) => encodeKey(table, key));
  const stored: (Uint8Array | undefined)[] = await level.getMany(levelKeys);
  return levelKeys.map((levelKey, i) => {
    const value = stored[i];
    return value === undefined ? undefined : openValue(levelKey, value);
  });
}

function hex(levelKey: Uint8Array): string {
  return asBuffer(levelKey).toString('hex', 0, 64);
}
