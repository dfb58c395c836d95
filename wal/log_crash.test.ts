import { describe, expect, it } from 'vitest';
import type { Position } from './append_log.ts';
import { LogFullError } from './errors.ts';
import { Log } from './log.ts';
import { Random, SimulatedDisk } from './testing/simulated_disk.ts';
import { isCrash, openSimulatedLog } from './testing/simulated_files.ts';

/** Random runs beside the exhaustive ones; raise it for a longer look. */
const RUNS = Number(process.env['WAL_CRASH_RUNS'] ?? 60);
const TIMEOUT_MS = 60_000 + RUNS * 1000;

interface Ledger {
  /** Texts in order of append; a rejected one may or may not be there. */
  readonly appended: { readonly text: string; acknowledged: Position | undefined }[];
  dropped: number;
}

function payloadOf(text: string, random: Random): Buffer {
  return Buffer.from(text.repeat(1 + random.below(120)));
}

/** Appends, some at once, rolls and drops until the script or the disk ends. */
async function workload(disk: SimulatedDisk, random: Random, ledger: Ledger): Promise<void> {
  const log = await openSimulatedLog(disk);
  try {
    for (let step = 0; step < 6; step += 1) {
      const together = Array.from({ length: 1 + random.below(4) }, () => {
        const entry: Ledger['appended'][number] = {
          text: `<${ledger.appended.length}>`,
          acknowledged: undefined,
        };
        ledger.appended.push(entry);
        const payload = payloadOf(entry.text, random);
        return log.append([{ type: 1, key: Buffer.from(entry.text), payload }]).then(([position]) => {
          entry.acknowledged = position;
        });
      });
      for (const outcome of await Promise.allSettled(together))
        if (outcome.status === 'rejected') throw outcome.reason;
      if (random.chance(0.2)) await log.roll();
      const oldest = log.segments[0];
      if (random.chance(0.1) && oldest?.sealed === true) {
        ledger.dropped = oldest.id;
        await log.dropSegment(oldest.id);
      }
    }
  } finally {
    await log.close().catch((error: unknown) => {
      if (!isCrash(error)) throw error;
    });
  }
}

async function run(disk: SimulatedDisk, random: Random, ledger: Ledger): Promise<boolean> {
  try {
    await workload(disk, random, ledger);
    return false;
  } catch (error) {
    if (!isCrash(error)) throw error;
    return true;
  }
}

/** Resolves with the numbers of the records found. */
async function check(disk: SimulatedDisk, ledger: Ledger): Promise<number[]> {
  const log = await openSimulatedLog(disk);
  const found = new Set<string>();
  const order: number[] = [];
  expect(log.recovery.damaged).toEqual([]);
  for await (const item of log.scan()) {
    if (item.kind === 'damage') throw new Error(`damage in segment ${item.segment}: ${item.reason}`);
    const text = Buffer.from(item.record.key).toString();
    found.add(text);
    order.push(Number(text.slice(1, -1)));
    expect(Buffer.from(item.record.payload).toString().replaceAll(text, '')).toBe('');
  }
  expect(order).toEqual([...order].sort((a, b) => a - b));
  for (const { text, acknowledged } of ledger.appended) {
    if (acknowledged === undefined || acknowledged.segment <= ledger.dropped) continue;
    expect(found).toContain(text);
    const read = await log.read(acknowledged);
    expect(Buffer.from(read.key).toString()).toBe(text);
  }
  await log.close();
  return order;
}

describe('a log whose machine stops', () => {
  it('keeps every acknowledged record, whichever call it stops at', { timeout: TIMEOUT_MS }, async () => {
    for (let seed = 1; seed <= Math.ceil(RUNS / 20); seed += 1) {
      const whole = new SimulatedDisk(new Random(seed));
      await run(whole, new Random(seed), { appended: [], dropped: 0 });
      for (let crashAt = 1; crashAt <= whole.operations; crashAt += 1) {
        const ledger: Ledger = { appended: [], dropped: 0 };
        const disk = new SimulatedDisk(new Random(seed * 1000 + crashAt));
        disk.crashAt = crashAt;
        await run(disk, new Random(seed), ledger);
        disk.crash();
        await check(disk.afterCrash(), ledger);
      }
    }
  });

  it('keeps them through crash after crash, in recovery too', { timeout: TIMEOUT_MS }, async () => {
    for (let seed = 1; seed <= RUNS; seed += 1) {
      const random = new Random(seed);
      const ledger: Ledger = { appended: [], dropped: 0 };
      let disk = new SimulatedDisk(random);
      for (let life = 0; life < 6; life += 1) {
        disk.crashAt = 1 + random.below(30);
        await run(disk, random, ledger);
        disk.crash();
        disk = disk.afterCrash();
      }
      try {
        await check(disk, ledger);
      } catch (error) {
        throw new Error(`seed ${seed}`, { cause: error });
      }
    }
  });

  it(
    'keeps what it reported after an fsync that failed and lost its pages',
    { timeout: TIMEOUT_MS },
    async () => {
      for (let seed = 1; seed <= RUNS; seed += 1) {
        const random = new Random(seed);
        const ledger: Ledger = { appended: [], dropped: 0 };
        let disk = new SimulatedDisk(random);
        const failing = 3 + random.below(12);
        let syncs = 0;
        disk.fault = ({ kind }) => (kind === 'sync' && ++syncs === failing ? 'lose' : undefined);
        await run(disk, random, ledger).catch((error: unknown) => {
          expect(error).toMatchObject({ code: expect.stringMatching('log_failed') as unknown });
        });
        disk = disk.afterProcessEnd();
        const seen = await check(disk, ledger);
        disk.crash();
        disk = disk.afterCrash();
        expect(await check(disk, ledger)).toEqual(seen);
      }
    },
  );
});

it('makes nothing of a segment whose creation found no space, and which a crash brings back', async () => {
  const disk = new SimulatedDisk(new Random(1));
  const options = { directory: '/log', segmentSizeBytes: 8192, reserveBytes: 0 };
  const log = await Log.open({ ...options, fileSystem: disk });
  await log.append([{ type: 1, key: Buffer.from('kept'), payload: Buffer.alloc(100) }]);
  let full = true;
  disk.fault = ({ kind }) => (full && kind === 'syncDirectory' ? 'ENOSPC' : undefined);
  await expect(log.roll()).rejects.toThrow(LogFullError);
  full = false;
  const moments: SimulatedDisk[] = [];
  disk.observe = () => moments.push(disk.copy(new Random(0)));
  await log.roll();
  await log.append([{ type: 1, key: Buffer.from('more'), payload: Buffer.alloc(100) }]);
  expect(moments.length).toBeGreaterThan(4);
  for (const moment of moments) {
    for (let seed = 0; seed < 16; seed += 1) {
      const after = await Log.open({ ...options, fileSystem: moment.copy(new Random(seed)).afterCrash() });
      const kinds: string[] = [];
      for await (const item of after.scan()) kinds.push(item.kind === 'damage' ? item.reason : 'record');
      expect([['record'], ['record', 'record']]).toContainEqual(kinds);
      await after.close();
    }
  }
});
