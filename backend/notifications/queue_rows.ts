import { decodeRecord, encodeRecord } from '../engine/record.ts';

const VERSION = 1;
const PREFIX = Buffer.from('notify:queue:');
/** Ends the name of a destination in its rows' keys. */
export const queueEnd: Uint8Array = Buffer.of(0);
const TIME_BYTES = 6;
const UNIQUE_BYTES = 8;

export const NOTIFICATION_LEASE_KEY: Uint8Array = Buffer.from('notify:lease');

/** What the rows in `state` of events that wait start with: of one destination, or of all. */
export function queuePrefix(destination?: string): Uint8Array {
  if (destination === undefined) return PREFIX;
  return Buffer.concat([PREFIX, Buffer.from(destination, 'utf8'), queueEnd]);
}

/** Events of a destination wait in order of their time. */
export function queueKey(
  destination: string,
  event: { readonly atMs: number; readonly unique: Uint8Array },
): Uint8Array {
  const time = Buffer.alloc(TIME_BYTES);
  time.writeUIntBE(event.atMs, 0, TIME_BYTES);
  return Buffer.concat([queuePrefix(destination), time, event.unique.subarray(0, UNIQUE_BYTES)]);
}

export function timeOfQueueKey(key: Uint8Array): number {
  return Buffer.from(key).readUIntBE(key.length - TIME_BYTES - UNIQUE_BYTES, TIME_BYTES);
}

/** The destination in a common prefix of queue rows, which ends with `queueEnd`. */
export function destinationOfPrefix(prefix: Uint8Array): string {
  return Buffer.from(prefix.subarray(PREFIX.length, prefix.length - 1)).toString('utf8');
}

/** Names the event to its receiver: the same however often it is delivered. */
export function eventIdOf(key: Uint8Array): string {
  return Buffer.from(key.subarray(key.length - TIME_BYTES - UNIQUE_BYTES)).toString('hex');
}

export function encodeQueued(body: string): Uint8Array {
  return encodeRecord(VERSION, { body });
}

export function decodeQueued(bytes: Uint8Array): string {
  return decodeRecord(bytes, { kind: 'queued event', newest: VERSION }).text('body');
}
