import { CorruptRecordError, type RecordFields } from '../engine/record.ts';
import { maxFrameBytes } from './geometry.ts';

/** How the bytes behind a locator were made of the content's; FORMAT.md has the layout. Part of the content's row. */
export interface SealedRow {
  /** Bytes of content in every frame but the last. */
  readonly frameBytes: number;
  /** Bytes in the data store, with tags and table. */
  readonly storedBytes: number;
  /** Present: the frames are encrypted. */
  readonly key?: WrappedKey;
  /** Present: some of the frames are compressed. */
  readonly table?: FrameTable;
}

/** The stored length of each frame, four bytes each, big endian: here, or behind the last frame. */
export type FrameTable = { readonly lengths: Uint8Array } | { readonly storedBytes: number };

/** The data key, as it may be kept. */
export interface WrappedKey {
  readonly wrapped: Uint8Array;
  /** What it is wrapped under; absent: the key that the client brings (SSE-C). */
  readonly under?: {
    readonly id: string;
    readonly fingerprint: Uint8Array;
    /** Canonical bytes of the KMS encryption context. */
    readonly context?: Uint8Array;
  };
}

/** For `encodeRecord`; short names, since a big upload has 10,000 of these. */
export function sealedRecord(row: SealedRow): Readonly<Record<string, unknown>> {
  const { key, table } = row;
  return defined({
    f: row.frameBytes,
    s: row.storedBytes,
    w: key?.wrapped,
    k: key?.under?.id,
    p: key?.under?.fingerprint,
    c: key?.under?.context,
    l: table !== undefined && 'lengths' in table ? table.lengths : undefined,
    t: table !== undefined && 'storedBytes' in table ? table.storedBytes : undefined,
  });
}

/** @throws CorruptRecordError */
export function sealedOf(fields: RecordFields): SealedRow {
  const frameBytes = fields.integer('f');
  const storedBytes = fields.integer('s');
  if (frameBytes < 1 || frameBytes > maxFrameBytes || storedBytes < 0) {
    throw new CorruptRecordError(`content row has frames of ${frameBytes} bytes in ${storedBytes}`);
  }
  const key = keyOf(fields);
  const table = tableOf(fields);
  return {
    frameBytes,
    storedBytes,
    ...(key === undefined ? {} : { key }),
    ...(table === undefined ? {} : { table }),
  };
}

function keyOf(fields: RecordFields): WrappedKey | undefined {
  const wrapped = fields.optionalBytes('w');
  if (wrapped === undefined) return undefined;
  const id = fields.optionalText('k');
  if (id === undefined) return { wrapped };
  const context = fields.optionalBytes('c');
  return {
    wrapped,
    under: { id, fingerprint: fields.bytes('p'), ...(context === undefined ? {} : { context }) },
  };
}

function tableOf(fields: RecordFields): FrameTable | undefined {
  const lengths = fields.optionalBytes('l');
  if (lengths !== undefined) return { lengths };
  const storedBytes = fields.optionalInteger('t');
  return storedBytes === undefined ? undefined : { storedBytes };
}

function defined(fields: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}
