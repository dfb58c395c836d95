import { randomBytes } from 'node:crypto';

import { encode } from 'cborg';
import { describe, expect, it } from 'vitest';

import { UnavailableError } from '../../s3db/errors.ts';
import { decodeEpochRow, epochKey, epochPrefix, Epochs } from './epochs.ts';
import type { EpochsOptions } from './epochs.ts';
import { ManualClock } from './testing/manual_clock.ts';
import { MemoryState } from './testing/memory_state.ts';

const minute = 60_000;

function open(options: Partial<EpochsOptions> = {}): {
  readonly epochs: Epochs;
  readonly state: MemoryState;
  readonly clock: ManualClock;
  readonly warnings: string[];
} {
  const state = new MemoryState();
  const clock = new ManualClock();
  const warnings: string[] = [];
  const log = (_: unknown, message: string): void => {
    warnings.push(message);
  };
  const epochs = Epochs.open({
    state,
    clock,
    randomBytes,
    holder: 'gateway-1',
    logger: { info: log, warn: log, error: log },
    ...options,
  });
  return { epochs, state, clock, warnings };
}

async function rows(state: MemoryState): Promise<bigint[]> {
  const page = await state.scan({ table: 'state', prefix: epochPrefix, limit: 100 });
  return page.items.map((item) => Buffer.from(item.key).readBigUInt64BE(epochPrefix.length));
}

describe('Epochs', () => {
  it('begins one with the first write, and all writes of the hour share it', async () => {
    const { epochs, state, clock } = open();
    expect(await rows(state)).toEqual([]);
    const uses = await Promise.all([epochs.acquire(), epochs.acquire(), epochs.acquire()]);
    await clock.advance(50 * minute);
    const [first] = uses;
    expect((await epochs.acquire()).epoch).toBe(first.epoch);
    expect(new Set(uses.map((use) => use.epoch)).size).toBe(1);
    expect(await rows(state)).toEqual([first.epoch]);
    expect(first.condition).toEqual({ table: 'state', key: epochKey(first.epoch), exists: true });
    expect(first.epoch).toBeLessThan(1n << 63n);
    const row = decodeEpochRow((await state.get('state', epochKey(first.epoch)))!);
    expect(row).toMatchObject({ holder: 'gateway-1', startedMs: clock.startMs });
    await epochs.close();
  });

  it('rolls hourly, and removes the old one only some time after its last upload', async () => {
    const { epochs, state, clock } = open();
    const slow = await epochs.acquire();
    const quick = await epochs.acquire();
    quick.release();
    quick.release();
    await clock.advance(61 * minute);
    const next = await epochs.acquire();
    expect(next.epoch).toBeGreaterThan(slow.epoch);
    next.release();
    await clock.advance(5 * 60 * minute);
    expect(await rows(state)).toContain(slow.epoch);
    slow.release();
    await clock.advance(minute / 2);
    expect(await rows(state)).toContain(slow.epoch);
    await clock.advance(2 * minute);
    expect(await rows(state)).not.toContain(slow.epoch);
    await epochs.close();
    expect(await rows(state)).toEqual([]);
  });

  it('changes its row more often than its lease is long, as long as it is held', async () => {
    const { epochs, state, clock } = open();
    const use = await epochs.acquire();
    let last = Buffer.alloc(0);
    for (let i = 0; i < 30; i += 1) {
      await clock.advance(15 * minute);
      const value = Buffer.from((await state.get('state', epochKey(use.epoch)))!);
      expect(decodeEpochRow(value).leaseMs).toBe(30 * minute);
      expect(value.equals(last)).toBe(false);
      last = value;
    }
    await epochs.close();
    expect(await rows(state)).toEqual([use.epoch]);
  });

  it('begins another when an audit took it away, or when its lease could not be renewed', async () => {
    const { epochs, state, clock, warnings } = open();
    const first = await epochs.acquire();
    await state.delete('state', epochKey(first.epoch));
    await clock.advance(11 * minute);
    expect(warnings).toContain('an epoch was taken away');
    const second = await epochs.acquire();
    expect(second.epoch).not.toBe(first.epoch);
    expect(await rows(state)).toEqual([second.epoch]);
    state.failure = new UnavailableError('no leader');
    await clock.advance(40 * minute);
    await expect(epochs.acquire()).rejects.toThrow('no leader');
    state.failure = undefined;
    expect((await epochs.acquire()).epoch).not.toBe(second.epoch);
    await epochs.close();
  });

  it('never takes a number that another process has', async () => {
    const state = new MemoryState();
    const clock = new ManualClock();
    let n = 0;
    const one = open({ state, clock, randomBytes: () => Buffer.of(0, 0, 1) });
    const two = open({ state, clock, randomBytes: () => Buffer.of(0, 0, (n += 1)) });
    const first = await one.epochs.acquire();
    const second = await two.epochs.acquire();
    expect(second.epoch).toBe(first.epoch + 1n);
    const three = open({ state, clock, randomBytes: () => Buffer.of(0, 0, 1) });
    await expect(three.epochs.acquire()).rejects.toThrow(UnavailableError);
  });

  it('begins another with a newer set of members, and keeps the old one for uploads under way', async () => {
    let membersVersion = 1;
    const { epochs, state, clock } = open({ membersVersion: () => membersVersion });
    const versions = async (): Promise<number[]> => {
      const page = await state.scan({ table: 'state', prefix: epochPrefix, limit: 100 });
      return page.items.map((item) => decodeEpochRow(item.value).membersVersion).sort();
    };
    const slow = await epochs.acquire();
    membersVersion = 2;
    const next = await epochs.acquire();
    expect(next.epoch).not.toBe(slow.epoch);
    expect(await versions()).toEqual([1, 2]);
    await clock.advance(90 * minute);
    expect(await versions()).toContain(1);
    slow.release();
    await clock.advance(3 * minute);
    expect(await versions()).not.toContain(1);
    await epochs.close();
  });

  it('reads rows of the first version', () => {
    const row = decodeEpochRow(encode([1, 'gateway-1', 5, 6]));
    expect(row).toEqual({ holder: 'gateway-1', startedMs: 5, leaseMs: 30 * minute, membersVersion: 0 });
  });

  it('refuses writes once it is closed', async () => {
    const { epochs } = open();
    await epochs.close();
    await epochs.close();
    await expect(epochs.acquire()).rejects.toThrow(UnavailableError);
  });
});
