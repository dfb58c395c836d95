import type { ScanPage, ScanRequest } from './database.ts';
import { InvalidRequestError } from './errors.ts';
import { afterPrefix, concatBytes, indexOfBytes, plainView, startsWith } from './key_bytes.ts';
import { checkKey, openValue, type BytesLevel } from './level_tables.ts';

const maxScanLimit = 10_000;
/** A page ends early (truncated) once its keys and values hold this much, so that its memory is bounded. */
const maxScanPageBytes = 4 * 1024 * 1024;

const firstReadRows = 8;
const largestReadRows = 1000;
/** Behind a common prefix of many rows one row is read, to see the next prefix; every so often several. */
const probeEvery = 16;
const readAheadBytes = 256 * 1024;

/**
 * One page of a table in the order of raw key bytes, with keys that hold the delimiter after the prefix rolled up to
 * their common prefix. It sees one moment of the Level. Its cost follows the page, not what lies under the common
 * prefixes: it seeks past each of them, and past `startAfter` when that is one.
 * @param tablePrefix what the Level keys of the table start with (`tablePrefix()` in level_tables.ts)
 * @throws InvalidRequestError for a wrong limit or an over-long key, ValueDamagedError for a damaged row.
 */
export async function scanLevel(
  level: BytesLevel,
  tablePrefix: Uint8Array,
  request: ScanRequest,
): Promise<ScanPage> {
  checkRequest(request);
  const bounds = scanBounds(tablePrefix, request);
  if (bounds === undefined) return { items: [], prefixes: [], truncated: false };
  const rows = level.iterator({ gte: bounds.from, lt: bounds.end, highWaterMarkBytes: readAheadBytes });
  try {
    return await readPage(rows, { request, tablePrefix, end: bounds.end });
  } finally {
    await rows.close();
  }
}

interface Rows {
  nextv(size: number): Promise<[Uint8Array, Uint8Array][]>;
  seek(target: Uint8Array): void;
}

async function readPage(
  rows: Rows,
  scan: { readonly request: ScanRequest; readonly tablePrefix: Uint8Array; readonly end: Uint8Array },
): Promise<ScanPage> {
  const { request, tablePrefix, end } = scan;
  const items: { key: Uint8Array; value: Uint8Array }[] = [];
  const prefixes: Uint8Array[] = [];
  let pageBytes = 0;
  let last: Uint8Array | undefined;
  let readRows = Math.min(firstReadRows, request.limit + 1);
  /** The Level key of the common prefix that is being passed over. */
  let passing: Uint8Array | undefined;
  /** Reads in a row that ended in the only prefix that they found. */
  let longPrefixes = 0;
  for (;;) {
    const read = await rows.nextv(readRows);
    const foundBefore = items.length + prefixes.length;
    if (read.length === 0) return { items, prefixes, truncated: false };
    readRows = Math.min(readRows * 4, largestReadRows, request.limit - items.length - prefixes.length + 1);
    for (const [levelKey, stored] of read) {
      if (passing !== undefined) {
        if (startsWith(levelKey, passing)) continue;
        passing = undefined;
      }
      if (
        last !== undefined &&
        (items.length + prefixes.length >= request.limit || pageBytes >= maxScanPageBytes)
      ) {
        return { items, prefixes, truncated: true, next: last };
      }
      const key = plainView(levelKey, tablePrefix.length);
      const rolledUp = commonPrefixOf(key, request);
      if (rolledUp === undefined) {
        const value = openValue(levelKey, stored);
        items.push({ key, value });
        pageBytes += key.length + value.length;
        last = key;
      } else {
        prefixes.push(rolledUp);
        pageBytes += rolledUp.length;
        last = rolledUp;
        passing = levelKey.subarray(0, tablePrefix.length + rolledUp.length);
      }
    }
    if (passing !== undefined) {
      const target = afterPrefix(passing);
      if (target === undefined || Buffer.compare(target, end) >= 0)
        return { items, prefixes, truncated: false };
      rows.seek(target);
      passing = undefined;
      const found = items.length + prefixes.length;
      longPrefixes = found - foundBefore > 1 ? 0 : longPrefixes + 1;
      readRows = longPrefixes % probeEvery === 0 ? Math.min(firstReadRows, request.limit - found + 1) : 1;
    }
  }
}

/** Where reading starts and the exclusive end; undefined when nothing can be between them. */
function scanBounds(
  tablePrefix: Uint8Array,
  request: ScanRequest,
): { readonly from: Uint8Array; readonly end: Uint8Array } | undefined {
  const first = concatBytes(tablePrefix, request.prefix);
  const end = afterPrefix(first);
  if (end === undefined) throw new Error('a table prefix must not be all 0xff');
  if (request.startAfter === undefined) return { from: first, end };
  const rolledUp = commonPrefixOf(request.startAfter, request);
  const after =
    rolledUp?.length === request.startAfter.length
      ? afterPrefix(concatBytes(tablePrefix, request.startAfter))
      : // The key that follows a key directly is that key and a zero byte.
        concatBytes(concatBytes(tablePrefix, request.startAfter), new Uint8Array(1));
  if (after === undefined || Buffer.compare(after, end) >= 0) return undefined;
  return { from: Buffer.compare(after, first) > 0 ? after : first, end };
}

/** The part of the key up to and with the first delimiter after the prefix. */
function commonPrefixOf(key: Uint8Array, request: ScanRequest): Uint8Array | undefined {
  const { delimiter, prefix } = request;
  if (delimiter === undefined || delimiter.length === 0 || !startsWith(key, prefix)) return undefined;
  const at = indexOfBytes(key, delimiter, prefix.length);
  return at < 0 ? undefined : key.subarray(0, at + delimiter.length);
}

function checkRequest(request: ScanRequest): void {
  if (!Number.isInteger(request.limit) || request.limit < 1 || request.limit > maxScanLimit) {
    throw new InvalidRequestError(
      `limit must be a whole number from 1 to ${maxScanLimit}, not ${request.limit}`,
    );
  }
  checkKey(request.prefix);
  if (request.startAfter !== undefined) checkKey(request.startAfter);
  if (request.delimiter !== undefined) checkKey(request.delimiter);
}
