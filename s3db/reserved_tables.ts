import type { Batch } from './database.ts';
import { InvalidRequestError } from './errors.ts';

/** Tables of s3db's own. */
const reservedTables = /^s3db-/;

/** @throws InvalidRequestError for a batch that would change a table that is not its users'. */
export function checkWritable(batch: Batch): void {
  const operation = batch.operations.find(({ table }) => reservedTables.test(table));
  if (operation !== undefined) throw new InvalidRequestError(`table ${operation.table} is reserved`);
}
