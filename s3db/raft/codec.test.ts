import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeMessage, encodeMessage } from './codec.ts';
import { RaftDecodeError, decodeConfiguration, encodeConfiguration } from './configuration_codec.ts';
import type { Configuration, Entry, Message } from './types.ts';

const id = fc.bigInt({ min: 1n, max: 2n ** 63n - 1n });
const number = fc.maxSafeNat();
const ascending = (ids: bigint[]) => ids.sort((a, b) => (a < b ? -1 : 1));
const configuration: fc.Arbitrary<Configuration> = fc
  .uniqueArray(fc.tuple(id, fc.nat(2)), { selector: ([value]) => value, maxLength: 12 })
  .map((members) => {
    const list = (which: number) =>
      ascending(members.filter(([, at]) => at === which).map(([value]) => value));
    return { voters: list(0), learners: list(1), removed: list(2) };
  });
const data = fc.uint8Array({ maxLength: 40 });

const append = fc
  .record({
    from: id,
    to: id,
    prevIndex: fc.nat(),
    prevTerm: fc.nat(1000),
    commit: number,
    steps: fc.array(
      fc.tuple(
        fc.nat(3),
        fc.oneof(
          data.map((bytes) => ({ type: 'command' as const, data: bytes })),
          configuration.map((value) => ({ type: 'config' as const, data: encodeConfiguration(value) })),
          fc.constant({ type: 'noop' as const, data: new Uint8Array(0) }),
        ),
      ),
      { maxLength: 8 },
    ),
  })
  .map(({ steps, ...head }): Message => {
    let term = head.prevTerm;
    const entries = steps.map(([step, entry], i): Entry => ({
      ...entry,
      term: (term += step),
      index: head.prevIndex + 1 + i,
    }));
    return { ...head, type: 'append', entries, term: term + 1 };
  });

const head = { from: id, to: id, term: number };
const message: fc.Arbitrary<Message> = fc.oneof(
  fc.record({
    ...head,
    type: fc.constantFrom('preVote' as const, 'vote' as const),
    lastIndex: number,
    lastTerm: number,
    transfer: fc.boolean(),
  }),
  fc.record({
    ...head,
    type: fc.constantFrom('preVoteReply' as const, 'voteReply' as const),
    granted: fc.boolean(),
  }),
  append,
  fc.record({
    ...head,
    type: fc.constant('appendReply' as const),
    accepted: fc.boolean(),
    index: number,
    hintIndex: number,
    hintTerm: number,
  }),
  fc.record({ ...head, type: fc.constant('heartbeat' as const), commit: number, nonce: number }),
  fc.record({ ...head, type: fc.constant('heartbeatReply' as const), nonce: number }),
  fc.record({ ...head, type: fc.constant('readIndex' as const), requestId: number }),
  fc.record({
    ...head,
    type: fc.constant('readIndexReply' as const),
    requestId: number,
    index: number,
    ok: fc.boolean(),
  }),
  fc.record({ ...head, type: fc.constant('timeoutNow' as const) }),
  fc
    .record({ from: id, to: id, term: fc.nat(), index: number, configuration })
    .map(({ index, configuration: members, ...rest }): Message => ({
      ...rest,
      type: 'snapshot',
      meta: { index, term: rest.term, configuration: members },
    })),
);

function bytesOf(value: Message): Uint8Array {
  return new Uint8Array(Buffer.concat(encodeMessage(value)));
}

describe('message codec', () => {
  test('what is encoded comes back', () => {
    fc.assert(
      fc.property(message, (value) => {
        expect(decodeMessage(bytesOf(value))).toEqual(value);
      }),
    );
  });

  test('entry data is not copied, in either direction', () => {
    const entry: Entry = { term: 1, index: 1, type: 'command', data: new Uint8Array([1, 2, 3]) };
    const value: Message = {
      ...{ type: 'append', from: 1n, to: 2n, term: 1, prevIndex: 0, prevTerm: 0, commit: 0 },
      entries: [entry],
    };
    expect(encodeMessage(value)[1]).toBe(entry.data);
    const bytes = bytesOf(value);
    const decoded = decodeMessage(bytes);
    expect(decoded.type === 'append' && decoded.entries[0]!.data.buffer).toBe(bytes.buffer);
  });

  test('every prefix, and every message with a byte too many, is refused', () => {
    fc.assert(
      fc.property(message, (value) => {
        const bytes = bytesOf(value);
        for (let length = 0; length < bytes.length; length++) {
          expect(() => decodeMessage(bytes.subarray(0, length))).toThrow(RaftDecodeError);
        }
        expect(() => decodeMessage(new Uint8Array([...bytes, 0]))).toThrow(RaftDecodeError);
      }),
      { numRuns: 50 },
    );
  });

  test('garbage is refused with a typed error and nothing else', () => {
    const garbage = fc.oneof(
      fc.uint8Array({ maxLength: 100 }),
      fc.tuple(message, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 5 })).map(([value, flips]) => {
        const bytes = bytesOf(value);
        for (const [at, byte] of flips) bytes[at % bytes.length] = byte;
        return bytes;
      }),
    );
    fc.assert(
      fc.property(garbage, (bytes) => {
        try {
          decodeMessage(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(RaftDecodeError);
        }
      }),
      { numRuns: 500 },
    );
  });

  test('the bytes of version 1 stay what they are', () => {
    const value: Message = {
      ...{ type: 'append', from: 1n, to: 2n, term: 5, prevIndex: 2 ** 32, prevTerm: 3, commit: 4 },
      entries: [{ term: 5, index: 2 ** 32 + 1, type: 'command', data: new Uint8Array([0xab, 0xcd]) }],
    };
    expect(Buffer.from(bytesOf(value)).toString('hex')).toBe(
      '01' +
        '04' +
        '0000000000000001' +
        '0000000000000002' +
        '0000000000000005' +
        '0000000100000000' +
        '0000000000000003' +
        '0000000000000004' +
        '00000001' +
        '0000000000000005' +
        '02' +
        '00000002' +
        'abcd',
    );
  });
});

describe('configuration codec', () => {
  test('what is encoded comes back', () => {
    fc.assert(
      fc.property(configuration, (value) => {
        expect(decodeConfiguration(encodeConfiguration(value))).toEqual(value);
      }),
    );
  });

  test.each([
    ['nothing', ''],
    ['another version', '02000000000000'],
    ['too short', '01000100000000'],
    ['id 0', '01000100000000' + '0000000000000000'],
    ['a double', '01000100010000' + '0000000000000001' + '0000000000000001'],
    ['descending ids', '01000200000000' + '0000000000000002' + '0000000000000001'],
  ])('%s is refused', (_name, hex) => {
    expect(() => decodeConfiguration(new Uint8Array(Buffer.from(hex, 'hex')))).toThrow(RaftDecodeError);
  });
});
