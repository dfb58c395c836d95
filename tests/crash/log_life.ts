import assert from 'node:assert/strict';
import type { Position } from '../../wal/append_log.ts';
import { LogFullError } from '../../wal/errors.ts';
import { Log } from '../../wal/log.ts';
import type { Random } from '../../wal/testing/simulated_disk.ts';
import { isCrash, openSimulatedLog } from '../../wal/testing/simulated_files.ts';
import { isDiskTrouble, type Subject } from './crashes.ts';

interface Appended {
  readonly text: string;
  /** Set once it was acknowledged, or seen after the process had ended. */
  position: Position | undefined;
  /** It was refused for lack of space, so it must never be there. */
  refused: boolean;
}

interface Ledger {
  readonly appended: Appended[];
  /** Segments up to this one may be gone. */
  dropped: number;
}

function textOf(number: number): string {
  return `<${String(number).padStart(3, '0')}>`;
}

/** Appends, some at once, rolls and drops. */
async function work(log: Log, ledger: Ledger, random: Random): Promise<void> {
  // Records of one size can take each other's place exactly.
  const alike = random.chance(0.3);
  for (let step = 0; step < 8; step += 1) {
    const together = Array.from({ length: 1 + random.below(4) }, async () => {
      const entry: Appended = { text: textOf(ledger.appended.length), position: undefined, refused: false };
      ledger.appended.push(entry);
      const payload = Buffer.from(alike ? entry.text.repeat(60) : entry.text.repeat(1 + random.below(150)));
      try {
        const [position] = await log.append([{ type: 1, key: Buffer.from(entry.text), payload }]);
        entry.position = position;
      } catch (error) {
        entry.refused = error instanceof LogFullError;
        if (!entry.refused) throw error;
      }
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
}

export const logSubject: Subject<Ledger> = {
  name: 'log',
  empty: () => ({ appended: [], dropped: 0 }),
  copy: ({ appended, dropped }) => ({ appended: appended.map((entry) => ({ ...entry })), dropped }),

  async live({ world, disk }, random) {
    let log: Log | undefined;
    try {
      log = await openSimulatedLog(disk);
      await work(log, world, random);
    } catch (error) {
      if (!isCrash(error) && !isDiskTrouble(error)) throw error;
    } finally {
      await log?.close().catch((error: unknown) => {
        if (!isCrash(error) && !isDiskTrouble(error)) throw error;
      });
    }
  },

  async check({ world, disk }) {
    const log = await openSimulatedLog(disk);
    const found = new Map<string, Position>();
    const order: number[] = [];
    assert.deepEqual(log.recovery.damaged, []);
    for await (const item of log.scan()) {
      if (item.kind === 'damage') throw new Error(`damage in segment ${item.segment}: ${item.reason}`);
      const text = Buffer.from(item.record.key).toString();
      assert.equal(Buffer.from(item.record.payload).toString().replaceAll(text, ''), '');
      found.set(text, item.position);
      order.push(Number(text.slice(1, -1)));
    }
    assert.deepEqual(
      order,
      [...order].sort((a, b) => a - b),
      'records come back in another order',
    );
    for (const entry of world.appended) {
      const { text, position, refused } = entry;
      const seen = found.get(text);
      if (refused) assert.equal(seen, undefined, `${text} was refused, and is there`);
      if (position !== undefined && position.segment > world.dropped) {
        assert.deepEqual(seen, position, `${text} was acknowledged`);
        assert.equal(Buffer.from((await log.read(position)).key).toString(), text);
      }
      // What was seen once is there from now on.
      entry.position = seen ?? entry.position;
    }
    await log.close();
  },

  async open({ disk }) {
    await (await openSimulatedLog(disk)).close();
  },
};
