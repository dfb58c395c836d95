import type { Database } from '../s3db/database.ts';
import type { DatabaseView } from './admin/cluster_view.ts';
import type { ProcessContext } from './context.ts';
export async function startDatabases(_c: ProcessContext): Promise<readonly string[]> {
  throw new Error('x');
}
export async function connectDatabase(
  _c: ProcessContext,
): Promise<Database & { status(): Promise<readonly DatabaseView[]> }> {
  throw new Error('x');
}
export interface ConnectedDatabase extends Database {
  status(): Promise<readonly DatabaseView[]>;
}
