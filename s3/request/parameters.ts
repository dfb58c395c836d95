import { S3Error } from '../errors.ts';
import type { Query } from '../http/query.ts';

/** Most items of one listing page. */
const maxPageItems = 1000;

/**
 * A count such as `max-keys`: 1,000 where it is absent or empty, never more than that.
 * @throws S3Error InvalidArgument when it isn't an integer of 0 to 2^31-1.
 */
export function pageSize(query: Query, name: string): number {
  const text = query.get(name);
  if (text === undefined || text === '') return maxPageItems;
  const value = /^[+-]?\d{1,15}$/.test(text) ? Number(text) : NaN;
  if (Number.isNaN(value)) {
    throw invalidArgument(name, text, `Provided ${name} not an integer or within integer range`);
  }
  if (value < 0 || value > 2 ** 31 - 1) {
    throw invalidArgument(name, text, `Argument ${name} must be an integer between 0 and 2147483647`);
  }
  return Math.min(value, maxPageItems);
}

/** Most parts of one upload. */
export const maxPartNumber = 10_000;

/** @throws S3Error InvalidArgument when it isn't an integer of 1 to 10,000. */
export function partNumber(query: Query): number {
  const text = query.get('partNumber') ?? '';
  const value = /^\d{1,9}$/.test(text) ? Number(text) : 0;
  if (value < 1 || value > maxPartNumber) {
    throw invalidArgument(
      'partNumber',
      text,
      `Part number must be an integer between 1 and ${maxPartNumber}, inclusive`,
    );
  }
  return value;
}

/** @throws S3Error InvalidArgument when it is there and empty. */
export function versionId(query: Query): string | undefined {
  const text = query.get('versionId');
  if (text === '') throw invalidArgument('versionId', text, 'Version id cannot be the empty string');
  return text;
}

/** @throws S3Error InvalidArgument when it is empty. */
export function uploadId(query: Query): string {
  const text = query.get('uploadId') ?? '';
  if (text === '')
    throw invalidArgument('uploadId', text, 'This operation does not accept an empty upload id.');
  return text;
}

/** A parameter for which the empty string means that it isn't there. */
export function optional(query: Query, name: string): string | undefined {
  const text = query.get(name);
  return text === '' ? undefined : text;
}

export function invalidArgument(name: string, value: string, message: string): S3Error {
  return new S3Error('InvalidArgument', message, { ArgumentName: name, ArgumentValue: value });
}

/** An object to spread: `{ [name]: value }`, or nothing where the value is undefined. */
export function given<K extends string, V>(name: K, value: V | undefined): { readonly [P in K]?: V } {
  return value === undefined ? {} : ({ [name]: value } as { readonly [P in K]: V });
}
