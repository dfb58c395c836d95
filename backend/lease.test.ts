import { randomBytes } from 'node:crypto';
import { encode } from 'cborg';
import { describe, expect, it } from 'vitest';
import { ManualClock } from './distributed/testing/manual_clock.ts';
import { MemoryState } from './distributed/testing/memory_state.ts';
import { Lease } from './lease.ts';

const key = Buffer.from('l');
const leaseMs = 900;

function setUp(): { readonly state: MemoryState; readonly clock: ManualClock; readonly make: MakeLease } {
  const state = new MemoryState();
  const clock = new ManualClock();
  const logger = { info: () => undefined };
  const make = (holder: string): Lease =>
    new Lease({ state, clock, key, leaseMs, holder, logger, randomBytes });
  return { state, clock, make };
}

type MakeLease = (holder: string) => Lease;

describe('Lease', () => {
  it('has one holder, and passes on when that one renews it no more', async () => {
    const { clock, make } = setUp();
    const [a, b] = [make('a'), make('b')];
    expect([await a.keep(), await b.keep(), await a.keep()]).toEqual([true, false, true]);
    await clock.advance(600);
    expect([await a.keep(), await b.keep()]).toEqual([true, false]);
    await clock.advance(600);
    expect(await b.keep()).toBe(false);
    await clock.advance(400);
    expect(await b.keep()).toBe(true);
    expect(await a.keep()).toBe(false);
    await b.release();
    expect(await a.keep()).toBe(true);
  });

  it('waits out a row of a format that it does not know', async () => {
    const { state, clock, make } = setUp();
    const lease = make('a');
    // As the object engine wrote it once: a version, then a CBOR map.
    await state.set(
      'state',
      key,
      Buffer.concat([Buffer.of(1), encode({ holder: randomBytes(16), renewals: 7 })]),
    );
    expect(await lease.keep()).toBe(false);
    await clock.advance(leaseMs - 1);
    expect(await lease.keep()).toBe(false);
    await clock.advance(1);
    expect(await lease.keep()).toBe(true);
  });

  it('takes back its own row at once where it lost sight of it', async () => {
    const { state, clock, make } = setUp();
    const lease = make('a');
    await lease.keep();
    const batch = state.batch.bind(state);
    state.batch = async (changes) => {
      await batch(changes);
      throw new Error('the answer was lost');
    };
    await clock.advance(leaseMs / 2);
    await expect(lease.keep()).rejects.toThrow('the answer was lost');
    state.batch = batch;
    expect(await lease.keep()).toBe(true);
  });
});
