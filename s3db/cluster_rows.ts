import type { Batch } from './database.ts';
import { asBuffer } from './key_bytes.ts';
import { getRow, type BytesLevel } from './level_tables.ts';

/** What a cluster keeps of itself: rows of a reserved table, so that all replicas change their minds at one place of the log. */
const clusterTable = 's3db-cluster';

const commandsKey = keyOf('commands');
const restoreKey = keyOf('restore');

/** A restore under way. While it stands, nothing else is read or written. */
export interface RestoreMark {
  /** A UUID that its maker chose. */
  readonly id: string;
  /** Parts taken in. */
  readonly parts: number;
}

export interface ClusterRows {
  /** The newest version of commands that every voter has said to know; used from here on. */
  readonly commandVersion: number;
  readonly restore: RestoreMark | undefined;
}

export const firstCommandVersion = 1;

/** @throws ValueDamagedError; Error for a row that a newer program wrote. */
export async function readClusterRows(level: BytesLevel): Promise<ClusterRows> {
  const commands = parse(await getRow(level, clusterTable, commandsKey));
  const restore = parse(await getRow(level, clusterTable, restoreKey));
  return {
    commandVersion: commands === undefined ? firstCommandVersion : Number(commands['version']),
    restore:
      restore === undefined ? undefined : { id: String(restore['id']), parts: Number(restore['parts']) },
  };
}

/** Whether a batch may change what the cluster keeps of itself. */
export function touchesClusterRows(batch: Batch): boolean {
  return batch.operations.some((operation) => operation.table === clusterTable);
}

/** The version that a batch turns on, if it is such a batch. */
export function commandVersionIn(batch: Batch): number | undefined {
  for (const operation of batch.operations) {
    if (operation.table !== clusterTable || operation.type !== 'put') continue;
    if (asBuffer(operation.key).equals(commandsKey)) return Number(parse(operation.value)?.['version']);
  }
  return undefined;
}

/** Turns on a version of commands, unless another did meanwhile. */
export function turnOn(version: number, before: number): Batch {
  const place = { table: clusterTable, key: commandsKey };
  return {
    conditions: [
      before === firstCommandVersion
        ? { ...place, exists: false }
        : { ...place, equals: encode({ version: before }) },
    ],
    operations: [{ type: 'put', ...place, value: encode({ version }) }],
  };
}

/** Changes the mark of a restore, if it is what it is thought to be. */
export function markRestore(before: RestoreMark | undefined, after: RestoreMark | undefined): Batch {
  const place = { table: clusterTable, key: restoreKey };
  return {
    conditions: [
      before === undefined ? { ...place, exists: false } : { ...place, equals: encode({ ...before }) },
    ],
    operations: [
      after === undefined
        ? { type: 'delete', ...place }
        : { type: 'put', ...place, value: encode({ ...after }) },
    ],
  };
}

function keyOf(name: string): Uint8Array {
  return new Uint8Array(Buffer.from(name));
}

function encode(fields: object): Uint8Array {
  return new Uint8Array(Buffer.from(JSON.stringify({ format: 1, ...fields })));
}

function parse(value: Uint8Array | undefined): Readonly<Record<string, unknown>> | undefined {
  if (value === undefined) return undefined;
  const json = JSON.parse(asBuffer(value).toString('utf8')) as Readonly<Record<string, unknown>>;
  if (json['format'] !== 1) throw new Error('a newer program wrote what the cluster keeps of itself');
  return json;
}
