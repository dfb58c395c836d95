import type { Batch } from './database.ts';
import { InvalidRequestError } from './errors.ts';
import { asBuffer } from './key_bytes.ts';
import type { DbAddress } from './server_options.ts';
import type { StateMachine } from './state_machine.ts';

/**
 * Where the replicas are that joined after the cluster's birth: rows of a reserved table, so that all learn of them.
 * The configuration file tells of the others; a row wins.
 */
const memberTable = 's3db-members';
const maxMembers = 1000;

/** Announces a replica. */
export function announcement(address: DbAddress): Batch {
  const { id, host, port, raftPort } = checkAddress(address);
  const value = Buffer.from(JSON.stringify({ format: 1, id, host, port, raftPort }));
  return { conditions: [], operations: [{ type: 'put', table: memberTable, key: keyOf(id), value }] };
}

export function withdrawal(id: number): Batch {
  return { conditions: [], operations: [{ type: 'delete', table: memberTable, key: keyOf(id) }] };
}

/** As far as this replica has applied the log. */
export async function announcedMembers(state: StateMachine): Promise<DbAddress[]> {
  const request = { table: memberTable, prefix: new Uint8Array(0), limit: maxMembers };
  const { items } = await state.scan(request);
  return items.map(({ value }) => checkAddress(JSON.parse(asBuffer(value).toString('utf8'))));
}

/** @throws InvalidRequestError saying what a `[[db]]` needs. */
export function checkAddress(json: unknown): DbAddress {
  if (typeof json !== 'object' || json === null) throw new InvalidRequestError('a [[db]] must be an object');
  const { id, host, port, raftPort } = json as Readonly<Record<string, unknown>>;
  if (!isWhole(id, 0xffff_ffff)) throw new InvalidRequestError('id must be a whole number of 1 or more');
  if (typeof host !== 'string' || host.length > 255 || !/^[A-Za-z0-9.:-]+$/.test(host)) {
    throw new InvalidRequestError('host must be a host name or an address');
  }
  if (!isWhole(port, 65_535)) throw new InvalidRequestError('port must be a port number');
  if (!isWhole(raftPort, 65_535)) throw new InvalidRequestError('raft_port must be a port number');
  return { id, host, port, raftPort };
}

function isWhole(value: unknown, max: number): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 1 && value <= max;
}

function keyOf(id: number): Uint8Array {
  const key = Buffer.alloc(4);
  key.writeUInt32BE(id);
  return key;
}
