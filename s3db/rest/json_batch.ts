import type { Batch, Condition, Operation, ScanPage } from '../database.ts';
import { InvalidRequestError } from '../errors.ts';
import { asBuffer } from '../key_bytes.ts';

/** The JSON forms of interfaces: keys in hex, values in base64. */
export function batchFromJson(text: string): Batch {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new InvalidRequestError('the body must be JSON', { cause: error });
  }
  const object = asObject(json, 'the body');
  onlyFields(object, ['conditions', 'operations'], 'the body');
  return {
    conditions: asList(object['conditions'], 'conditions').map(conditionFromJson),
    operations: asList(object['operations'], 'operations').map(operationFromJson),
  };
}

/** Ready for JSON.stringify. */
export function pageToJson(page: ScanPage): unknown {
  return {
    items: page.items.map(({ key, value }) => ({ key: toHex(key), value: toBase64(value) })),
    prefixes: page.prefixes.map(toHex),
    truncated: page.truncated,
    ...(page.next === undefined ? {} : { next: toHex(page.next) }),
  };
}

/** @throws InvalidRequestError naming what is no hex. */
export function fromHex(text: unknown, what: string): Uint8Array {
  if (typeof text !== 'string' || text.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(text)) {
    throw new InvalidRequestError(`${what} must be hex`);
  }
  return new Uint8Array(Buffer.from(text, 'hex'));
}

export function toHex(bytes: Uint8Array): string {
  return asBuffer(bytes).toString('hex');
}

function toBase64(bytes: Uint8Array): string {
  return asBuffer(bytes).toString('base64');
}

function fromBase64(text: unknown, what: string): Uint8Array {
  const wellFormed = typeof text === 'string' && text.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(text);
  if (!wellFormed) throw new InvalidRequestError(`${what} must be base64, padded`);
  return new Uint8Array(Buffer.from(text, 'base64'));
}

function conditionFromJson(json: unknown, position: number): Condition {
  const what = `conditions[${position}]`;
  const object = asObject(json, what);
  const table = asText(object['table'], `${what}.table`);
  if ('prefix' in object) {
    onlyFields(object, ['table', 'prefix', 'empty'], what);
    if (object['empty'] !== true) throw new InvalidRequestError(`${what}.empty must be true`);
    return { table, prefix: fromHex(object['prefix'], `${what}.prefix`), empty: true };
  }
  const key = fromHex(object['key'], `${what}.key`);
  if ('equals' in object) {
    onlyFields(object, ['table', 'key', 'equals'], what);
    return { table, key, equals: fromBase64(object['equals'], `${what}.equals`) };
  }
  onlyFields(object, ['table', 'key', 'exists'], what);
  if (typeof object['exists'] !== 'boolean') {
    throw new InvalidRequestError(
      `${what} needs one of "exists" (true or false), "equals", or "prefix" with "empty"`,
    );
  }
  return { table, key, exists: object['exists'] };
}

function operationFromJson(json: unknown, position: number): Operation {
  const what = `operations[${position}]`;
  const object = asObject(json, what);
  const table = asText(object['table'], `${what}.table`);
  const key = fromHex(object['key'], `${what}.key`);
  switch (object['type']) {
    case 'put':
      onlyFields(object, ['type', 'table', 'key', 'value'], what);
      return { type: 'put', table, key, value: fromBase64(object['value'], `${what}.value`) };
    case 'delete':
      onlyFields(object, ['type', 'table', 'key'], what);
      return { type: 'delete', table, key };
    default:
      throw new InvalidRequestError(`${what}.type must be "put" or "delete"`);
  }
}

type JsonObject = Readonly<Record<string, unknown>>;

function asObject(json: unknown, what: string): JsonObject {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw new InvalidRequestError(`${what} must be an object`);
  }
  return json as JsonObject;
}

function asList(json: unknown, what: string): readonly unknown[] {
  if (json === undefined) return [];
  if (!Array.isArray(json)) throw new InvalidRequestError(`${what} must be a list`);
  return json;
}

function asText(json: unknown, what: string): string {
  if (typeof json !== 'string') throw new InvalidRequestError(`${what} must be text`);
  return json;
}

/** A field that we don't know may be a condition that the caller counts on. */
function onlyFields(object: JsonObject, known: readonly string[], what: string): void {
  const unknown = Object.keys(object).find((name) => !known.includes(name));
  if (unknown !== undefined)
    throw new InvalidRequestError(`${what} has an unknown field ${JSON.stringify(unknown)}`);
}
