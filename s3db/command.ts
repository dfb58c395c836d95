import type { Batch, Condition, Operation } from './database.ts';
import { ByteReader, ByteWriter } from '../wal/byte_codec.ts';

/**
 * A command of the replicated state machine, as it lies in a Raft entry:
 *
 *     format 1 | kind 1 = batch | timestamp, 48 bits | request id, 16 bytes | number of conditions | conditions |
 *     number of operations | operations
 *
 * A later format or kind is used only once every voter knows it (`command_gate.ts`); a replica that meets one it doesn't
 * know halts rather than skip it.
 */
export interface BatchCommand {
  /** The proposing leader's clock, milliseconds of the epoch. */
  readonly timestampMs: number;
  /** 16 bytes of a UUIDv7. */
  readonly requestId: Uint8Array;
  /** The encoded batch: what makes two requests with one id the same request. */
  readonly body: Uint8Array;
}

export interface DecodedCommand extends BatchCommand {
  readonly batch: Batch;
}

/** A command of a format or kind that this program is too old for. The replica must stop. */
export class UnknownCommandError extends Error {
  override readonly name = 'UnknownCommandError';
}

const commandFormat = 1;

const batchKind = 1;
const bodyOffset = 2 + 6 + 16;

export function encodeBatchCommand(command: BatchCommand): Uint8Array {
  const out = new ByteWriter(bodyOffset + command.body.length);
  out.u8(commandFormat);
  out.u8(batchKind);
  out.u48(command.timestampMs);
  out.raw(command.requestId);
  out.raw(command.body);
  return out.finish();
}

export function encodeBatch(batch: Batch): Uint8Array {
  const { conditions, operations } = batch;
  const out = new ByteWriter(16 + sizeHint(batch));
  out.varint(conditions.length);
  for (const condition of conditions) writeCondition(out, condition);
  out.varint(operations.length);
  for (const operation of operations) writeOperation(out, operation);
  return out.finish();
}

/** Views into `body`, not copies. @throws UnknownCommandError, MalformedBytesError */
export function decodeBatch(body: Uint8Array): Batch {
  const input = new ByteReader(body);
  const conditions = readMany(input, readCondition);
  const operations = readMany(input, readOperation);
  input.end();
  return { conditions, operations };
}

/** Views into `data`, not copies. @throws UnknownCommandError, MalformedBytesError */
export function decodeCommand(data: Uint8Array): DecodedCommand {
  const input = new ByteReader(data);
  const format = input.u8();
  if (format !== commandFormat) throw new UnknownCommandError(`command format ${format} is not known here`);
  const kind = input.u8();
  if (kind !== batchKind) throw new UnknownCommandError(`command kind ${kind} is not known here`);
  const timestampMs = input.u48();
  const requestId = input.raw(16);
  const body = input.raw(input.remaining);
  return { timestampMs, requestId, batch: decodeBatch(body), body };
}

/** The commands that a program knows. Whoever adds a form gives it the next version here. */
export interface CommandForms {
  /** The highest version that this program applies; replicas report it to each other. */
  readonly newest: number;
  /** In the best form that `version` allows. */
  encode(command: BatchCommand, version: number): Uint8Array;
  /** Of any version up to the newest. @throws UnknownCommandError, MalformedBytesError */
  decode(data: Uint8Array): DecodedCommand;
}

/** Version 1 is the batch. */
export const commandForms: CommandForms = { newest: 1, encode: encodeBatchCommand, decode: decodeCommand };

const absent = 0;
const present = 1;
const equal = 2;
const emptyPrefix = 3;

function writeCondition(out: ByteWriter, condition: Condition): void {
  if ('prefix' in condition) {
    out.u8(emptyPrefix);
    out.text(condition.table);
    out.bytes(condition.prefix);
  } else if ('equals' in condition) {
    out.u8(equal);
    out.text(condition.table);
    out.bytes(condition.key);
    out.bytes(condition.equals);
  } else {
    out.u8(condition.exists ? present : absent);
    out.text(condition.table);
    out.bytes(condition.key);
  }
}

function readCondition(input: ByteReader): Condition {
  const kind = input.u8();
  const table = input.text();
  const key = input.bytes();
  switch (kind) {
    case absent:
    case present:
      return { table, key, exists: kind === present };
    case equal:
      return { table, key, equals: input.bytes() };
    case emptyPrefix:
      return { table, prefix: key, empty: true };
    default:
      throw new UnknownCommandError(`condition kind ${kind} is not known here`);
  }
}

const removal = 0;
const put = 1;

function writeOperation(out: ByteWriter, operation: Operation): void {
  out.u8(operation.type === 'put' ? put : removal);
  out.text(operation.table);
  out.bytes(operation.key);
  if (operation.type === 'put') out.bytes(operation.value);
}

function readOperation(input: ByteReader): Operation {
  const kind = input.u8();
  const table = input.text();
  const key = input.bytes();
  switch (kind) {
    case removal:
      return { type: 'delete', table, key };
    case put:
      return { type: 'put', table, key, value: input.bytes() };
    default:
      throw new UnknownCommandError(`operation kind ${kind} is not known here`);
  }
}

function readMany<T>(input: ByteReader, read: (input: ByteReader) => T): T[] {
  const count = input.varint();
  const items: T[] = [];
  for (let i = 0; i < count; i++) items.push(read(input));
  return items;
}

function sizeHint(batch: Batch): number {
  let bytes = 0;
  for (const condition of batch.conditions) {
    const key = 'prefix' in condition ? condition.prefix : condition.key;
    bytes += key.length + 16 + condition.table.length + ('equals' in condition ? condition.equals.length : 0);
  }
  for (const operation of batch.operations) {
    bytes += operation.key.length + 16 + operation.table.length;
    if (operation.type === 'put') bytes += operation.value.length;
  }
  return bytes;
}
