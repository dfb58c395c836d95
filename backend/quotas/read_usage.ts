import type { GlobalState } from '../global_state.ts';
import { scanPages } from '../state_rows.ts';
import {
  bucketIdOfUsage,
  decodeUsage,
  kindOfUsage,
  sumOf,
  totalKey,
  usagePrefix,
  type Usage,
} from './usage_rows.ts';

const rowsPerPage = 10_000;
const maxReads = 4;

/** What one bucket holds now. */
export async function readUsage(
  state: GlobalState,
  bucket: { readonly id: Uint8Array; readonly name: string },
): Promise<Usage> {
  for (let read = 1; ; read++) {
    let usage: Usage = { bucket: bucket.name, bytes: 0, versions: 0 };
    let total: Uint8Array | undefined;
    let pages = 0;
    for await (const page of scanPages(state, {
      table: 'state',
      prefix: usagePrefix(bucket.id),
      limit: rowsPerPage,
    })) {
      pages += 1;
      for (const { key, value } of page.items) {
        const kind = kindOfUsage(key);
        if (kind === 'total') total = value;
        if (kind !== 'gate') usage = sumOf(usage, decodeUsage(value));
      }
    }
    // A page is of one moment; between several, deltas may have moved into the total that was read before.
    if (pages === 1 || read >= maxReads || (await isTotal(state, bucket.id, total))) return usage;
  }
}

async function isTotal(
  state: GlobalState,
  bucketId: Uint8Array,
  read: Uint8Array | undefined,
): Promise<boolean> {
  const now = await state.get('state', totalKey(bucketId));
  return read === undefined ? now === undefined : now !== undefined && Buffer.compare(read, now) === 0;
}

/** What buckets hold, about as of now: of as many as come within so many rows. */
export async function readUsages(
  state: GlobalState,
  options: { readonly maxRows: number },
): Promise<Usage[]> {
  const usages = new Map<string, Usage>();
  let rows = 0;
  const request = { table: 'state', prefix: usagePrefix(), limit: rowsPerPage } as const;
  for await (const page of scanPages(state, request, { consistency: 'stale' })) {
    for (const { key, value } of page.items) {
      if (kindOfUsage(key) === 'gate') continue;
      const id = Buffer.from(bucketIdOfUsage(key)).toString('hex');
      const before = usages.get(id);
      const usage = decodeUsage(value);
      usages.set(id, before === undefined ? usage : sumOf(before, usage));
    }
    rows += page.items.length;
    if (rows >= options.maxRows) break;
  }
  return [...usages.values()];
}
