import { decode, encode } from 'cborg';

import type { ContentId, Locator } from '../data_store.ts';
import { checkShape } from './erasure/codec.ts';
import type { Geometry } from './stripes.ts';

/** What a locator says. FORMAT.md gives its encoding. */
export interface ContentLayout extends Geometry {
  readonly contentId: ContentId;
  /** Grows by one with every change of `placement`; everything else never changes. */
  readonly layout: number;
  /** The node that holds, or is to hold, each of the K + M shards; null where no node was left for it. */
  readonly placement: readonly (number | null)[];
}

/** The bytes are no locator that this version can read. */
export class InvalidLocatorError extends Error {
  override readonly name = 'InvalidLocatorError';
}

const version = 1;
/** Plain stripes; compressed or encrypted ones would be other formats. */
const formatPlain = 0;

/** Encodes a locator: under a kilobyte, whatever the content's size. */
export function encodeLocator(content: ContentLayout): Locator {
  return encode([
    version,
    formatPlain,
    content.sizeBytes,
    content.data,
    content.parity,
    content.blockSizeBytes,
    content.contentId,
    content.layout,
    content.placement,
  ]);
}

/** @throws InvalidLocatorError */
export function decodeLocator(locator: Locator): ContentLayout {
  let value: unknown;
  try {
    value = decode(locator);
  } catch (cause) {
    throw new InvalidLocatorError('the locator is not CBOR', { cause });
  }
  if (!Array.isArray(value)) throw new InvalidLocatorError('the locator is not a CBOR array');
  const fields: readonly unknown[] = value;
  if (fields[0] !== version)
    throw new InvalidLocatorError(`locator version ${String(fields[0])} is not known`);
  if (fields[1] !== formatPlain)
    throw new InvalidLocatorError(`stripe format ${String(fields[1])} is not known`);
  if (fields.length !== 9) throw new InvalidLocatorError(`a locator has 9 fields, not ${fields.length}`);
  const contentId = fields[6];
  const placement: unknown = fields[8];
  if (!(contentId instanceof Uint8Array) || contentId.byteLength !== 32) {
    throw new InvalidLocatorError('the content id is not 32 bytes');
  }
  const content: ContentLayout = {
    sizeBytes: count(fields[2], 'size'),
    data: count(fields[3], 'data'),
    parity: count(fields[4], 'parity'),
    blockSizeBytes: count(fields[5], 'block size'),
    contentId,
    layout: count(fields[7], 'layout'),
    placement: Array.isArray(placement)
      ? placement.map((node: unknown) => (node === null ? null : count(node, 'node id')))
      : [],
  };
  try {
    checkShape(content);
  } catch (cause) {
    throw new InvalidLocatorError('the locator names an impossible code', { cause });
  }
  if (content.sizeBytes > 0) {
    if (content.blockSizeBytes === 0) throw new InvalidLocatorError('the block size is 0');
    if (content.placement.length !== content.data + content.parity) {
      throw new InvalidLocatorError(`the placement names ${content.placement.length} shards`);
    }
  }
  return content;
}

function count(value: unknown, name: string): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) {
    throw new InvalidLocatorError(`the locator's ${name} is ${String(value)}`);
  }
  return value;
}
