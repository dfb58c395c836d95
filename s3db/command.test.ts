import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ByteReader, ByteWriter, MalformedBytesError } from '../wal/byte_codec.ts';
import { decodeCommand, encodeBatch, encodeBatchCommand, UnknownCommandError } from './command.ts';
import { formatRequestId, mintRequestId, parseRequestId, requestIdTimeMs } from './request_id.ts';

const anyBytes = fc.uint8Array({ maxLength: 40 });
const table = fc.constantFrom('a', 'objects', 'x_9-z');
const condition = fc.oneof(
  fc.record({ table, key: anyBytes, exists: fc.boolean() }),
  fc.record({ table, key: anyBytes, equals: anyBytes }),
  fc.record({ table, prefix: anyBytes, empty: fc.constant(true as const) }),
);
const operation = fc.oneof(
  fc.record({
    type: fc.constant('put' as const),
    table,
    key: anyBytes,
    value: fc.uint8Array({ maxLength: 400 }),
  }),
  fc.record({ type: fc.constant('delete' as const), table, key: anyBytes }),
);
const batch = fc.record({ conditions: fc.array(condition), operations: fc.array(operation) });
const requestId = fc.uint8Array({ minLength: 16, maxLength: 16 });

const sample = encodeBatchCommand({
  timestampMs: 1,
  requestId: new Uint8Array(16),
  body: encodeBatch({ conditions: [], operations: [{ type: 'delete', table: 't', key: Uint8Array.of(1) }] }),
});

describe('batch commands', () => {
  it('come back as they were encoded', () => {
    fc.assert(
      fc.property(batch, requestId, fc.nat(2 ** 45), (original, id, timestampMs) => {
        const decoded = decodeCommand(
          encodeBatchCommand({ timestampMs, requestId: id, body: encodeBatch(original) }),
        );
        expect(decoded.timestampMs).toBe(timestampMs);
        expect(decoded.requestId).toEqual(id);
        expect(decoded.batch).toEqual(original);
      }),
      { numRuns: 200 },
    );
  });

  it('have a body that does not depend on time and request id', () => {
    const other = encodeBatchCommand({
      timestampMs: 2,
      requestId: new Uint8Array(16).fill(7),
      body: encodeBatch({
        conditions: [],
        operations: [{ type: 'delete', table: 't', key: Uint8Array.of(1) }],
      }),
    });
    expect(decodeCommand(other).body).toEqual(decodeCommand(sample).body);
  });

  it('of another format or kind are refused as unknown, not skipped', () => {
    expect(() => decodeCommand(sample.with(0, 2))).toThrow(UnknownCommandError);
    expect(() => decodeCommand(sample.with(1, 9))).toThrow(UnknownCommandError);
    expect(() => decodeCommand(sample.with(26, 9))).toThrow(UnknownCommandError);
  });

  it('that end early or late are refused', () => {
    for (let length = 0; length < sample.length; length++) {
      expect(() => decodeCommand(sample.subarray(0, length))).toThrow(MalformedBytesError);
    }
    expect(() => decodeCommand(Uint8Array.of(...sample, 0))).toThrow(MalformedBytesError);
  });
});

describe('ByteWriter and ByteReader', () => {
  it('agree on every integer up to 2^53 - 1', () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), (value) => {
        const out = new ByteWriter();
        out.varint(value);
        const input = new ByteReader(out.finish());
        expect(input.varint()).toBe(value);
        input.end();
      }),
    );
  });

  it('refuse integers beyond', () => {
    expect(() => new ByteReader(new Uint8Array(8).fill(0xff)).varint()).toThrow(MalformedBytesError);
    expect(() =>
      new ByteReader(Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f)).varint(),
    ).toThrow(MalformedBytesError);
  });
});

describe('request ids', () => {
  it('are UUIDv7 with the time of their minting', () => {
    const id = mintRequestId(1_700_000_000_123);
    expect(requestIdTimeMs(id)).toBe(1_700_000_000_123);
    const text = formatRequestId(id);
    expect(text).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(parseRequestId(text)).toEqual(id);
    expect(parseRequestId(text.toUpperCase())).toEqual(id);
  });

  it('of other kinds are refused', () => {
    for (const text of [
      '',
      'x',
      '00000000-0000-4000-8000-000000000000',
      '00000000-0000-7000-0000-000000000000',
    ]) {
      expect(parseRequestId(text)).toBeUndefined();
    }
  });
});
