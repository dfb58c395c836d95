import type { ReadOptions, ScanPage, ScanRequest } from '../s3db/database.ts';
import { ConditionFailedError } from '../s3db/errors.ts';
import type { GlobalState, Table } from './global_state.ts';

/** A row as a scan found it. */
export interface Row {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

/** The rows under a prefix, in order, a page of at most `limit` at a time; each page is of one moment. */
export async function* scanPages(
  state: Pick<GlobalState, 'scan'>,
  request: Pick<ScanRequest, 'prefix' | 'limit'> & { readonly table: Table },
  options: ReadOptions = {},
): AsyncGenerator<ScanPage> {
  let startAfter: Uint8Array | undefined;
  do {
    const place = startAfter === undefined ? {} : { startAfter };
    const page: ScanPage = await state.scan({ ...request, ...place }, options);
    yield page;
    startAfter = page.next;
  } while (startAfter !== undefined);
}

/** Removes a row of table `state`, unless it has changed since it was read. @returns whether it was as it was read */
export async function removeUnchanged(
  state: Pick<GlobalState, 'batch'>,
  { key, value }: Row,
): Promise<boolean> {
  try {
    await state.batch({
      conditions: [{ table: 'state', key, equals: value }],
      operations: [{ type: 'delete', table: 'state', key }],
    });
    return true;
  } catch (error) {
    if (error instanceof ConditionFailedError) return false;
    throw error;
  }
}
