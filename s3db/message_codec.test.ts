import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeMessage, encodeMessage } from './message_codec.ts';
import type { Message } from './raft/types.ts';

const id = fc.bigInt({ min: 1n, max: 2n ** 63n - 1n });
const number = fc.maxSafeNat();
const address = { from: id, to: id, term: number };
const entry = fc.record({
  term: number,
  index: number,
  type: fc.constantFrom('noop' as const, 'config' as const, 'command' as const),
  data: fc.uint8Array({ maxLength: 50 }),
});
const ids = (from: bigint): fc.Arbitrary<bigint[]> =>
  fc
    .uniqueArray(fc.bigInt({ min: from, max: from + 99n }), { maxLength: 5 })
    .map((list) => list.toSorted((a, b) => Number(a - b)));
const message: fc.Arbitrary<Message> = fc.oneof(
  fc.record({
    ...address,
    type: fc.constantFrom('preVote' as const, 'vote' as const),
    lastIndex: number,
    lastTerm: number,
    transfer: fc.boolean(),
  }),
  fc.record({
    ...address,
    type: fc.constantFrom('preVoteReply' as const, 'voteReply' as const),
    granted: fc.boolean(),
  }),
  fc.record({
    ...address,
    type: fc.constant('append' as const),
    prevIndex: number,
    prevTerm: number,
    commit: number,
    entries: fc.array(entry, { maxLength: 5 }),
  }),
  fc.record({
    ...address,
    type: fc.constant('appendReply' as const),
    accepted: fc.boolean(),
    index: number,
    hintIndex: number,
    hintTerm: number,
  }),
  fc.record({ ...address, type: fc.constant('heartbeat' as const), commit: number, nonce: number }),
  fc.record({ ...address, type: fc.constant('heartbeatReply' as const), nonce: number }),
  fc.record({
    ...address,
    type: fc.constant('snapshot' as const),
    meta: fc.record({
      index: number,
      term: number,
      configuration: fc.record({ voters: ids(1n), learners: ids(1000n), removed: ids(2000n) }),
    }),
  }),
  fc.record({ ...address, type: fc.constant('readIndex' as const), requestId: number }),
  fc.record({
    ...address,
    type: fc.constant('readIndexReply' as const),
    requestId: number,
    index: number,
    ok: fc.boolean(),
  }),
  fc.record({ ...address, type: fc.constant('timeoutNow' as const) }),
);

const cluster = new Uint8Array(16).fill(9);

describe("Raft's messages", () => {
  it('come back as they were sent', () => {
    fc.assert(
      fc.property(message, (sent) => {
        expect(decodeMessage(cluster, encodeMessage(cluster, sent))).toEqual(sent);
      }),
      { numRuns: 500 },
    );
  });

  it('of another cluster, format or type are refused', () => {
    const bytes = encodeMessage(cluster, { type: 'timeoutNow', from: 1n, to: 2n, term: 3 });
    expect(() => decodeMessage(new Uint8Array(16), bytes)).toThrow('another cluster');
    expect(() => decodeMessage(cluster, bytes.with(0, 2))).toThrow('unknown format');
    expect(() => decodeMessage(cluster, bytes.with(17, 99))).toThrow('unknown type');
  });

  it('cut short or with bytes too many are refused, never read beyond their end', () => {
    fc.assert(
      fc.property(message, fc.nat(), (sent, cut) => {
        const bytes = encodeMessage(cluster, sent);
        expect(() => decodeMessage(cluster, bytes.subarray(0, cut % bytes.length))).toThrow();
        expect(() => decodeMessage(cluster, Uint8Array.of(...bytes, 0))).toThrow();
      }),
    );
  });
});
