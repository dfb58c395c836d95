import { describe, expect, it } from 'vitest';
import { Log } from '../wal/log.ts';
import { Random, SimulatedDisk } from '../wal/testing/simulated_disk.ts';
import type { Configuration, Entry, HardState, SnapshotMeta } from './raft/types.ts';
import { WalRaftStorage, type RecoveredLog } from './raft_storage.ts';

const configuration: Configuration = { voters: [1n, 2n, 3n], learners: [], removed: [] };
const seeds = 150;
const operationsPerLife = 60;

/** What the log would hold after each record that was ever handed to it. */
interface Moment {
  readonly hardState: HardState;
  /** The index and term that a restart began behind. */
  readonly start: { readonly index: number; readonly term: number };
  readonly entries: readonly Entry[];
}

/** A life of a replica's log: what it was asked to keep, record by record, and up to where it said that it is durable. */
class Life {
  readonly moments: Moment[];
  acknowledged = 0;
  compacted = 0;

  constructor(first: Moment) {
    this.moments = [first];
  }

  get now(): Moment {
    return this.moments.at(-1)!;
  }

  get last(): { readonly index: number; readonly term: number } {
    return this.now.entries.at(-1) ?? this.now.start;
  }

  push(change: Partial<Moment>): void {
    this.moments.push({ ...this.now, ...change });
  }
}

function draw(random: Random, below: number): number {
  return Math.floor(random.next() * below);
}

function nextEntries(random: Random, life: Life, commit: number): Entry[] {
  const { index, term } = life.last;
  const uncommitted = index - commit;
  const conflict = uncommitted > 0 && random.chance(0.15);
  const from = conflict ? index - draw(random, uncommitted) : index + 1;
  const newTerm = conflict || random.chance(0.05) ? term + 1 : term;
  return Array.from({ length: 1 + draw(random, 4) }, (_, i) => ({
    term: newTerm,
    index: from + i,
    type: 'command' as const,
    data: new Uint8Array(draw(random, 700)).fill(from + i + newTerm),
  }));
}

function follow(life: Life, entries: readonly Entry[]): void {
  for (const entry of entries) {
    life.push({ entries: [...life.now.entries.filter(({ index }) => index < entry.index), entry] });
  }
}

/** One random operation; when it resolves, the storage has said that the log up to there is durable. */
async function operate(random: Random, life: Life, storage: WalRaftStorage): Promise<void> {
  const { hardState, start } = life.now;
  const commit = Math.max(hardState.commit, start.index);
  const dice = random.next();
  if (dice < 0.75) {
    const entries = nextEntries(random, life, commit);
    const reach = Math.min(entries[0]!.index - 1, life.last.index);
    const next: HardState = {
      term: Math.max(hardState.term, entries[0]!.term),
      vote: BigInt(draw(random, 4)),
      commit: Math.max(hardState.commit, commit + draw(random, Math.max(1, reach - commit + 1))),
    };
    life.push({ hardState: next });
    follow(life, entries);
    const reached = life.moments.length - 1;
    await storage.append({ hardState: next, entries });
    life.acknowledged = Math.max(life.acknowledged, reached);
  } else if (dice < 0.95) {
    const upTo = start.index + draw(random, commit - start.index + 1);
    if (upTo <= Math.max(life.compacted, start.index)) return;
    const { term } = life.now.entries.find(({ index }) => index === upTo)!;
    life.compacted = upTo;
    await storage.compact({ index: upTo, term, configuration });
  } else {
    const index = life.last.index + 1 + draw(random, 5);
    const term = life.last.term + 1;
    const next: HardState = { term: Math.max(hardState.term, term), vote: 0n, commit: index };
    // One record: its hard state alone would point behind the log's end.
    life.push({ hardState: next, start: { index, term }, entries: [] });
    life.compacted = index;
    const reached = life.moments.length - 1;
    await storage.restart({ index, term, configuration }, next);
    life.acknowledged = Math.max(life.acknowledged, reached);
  }
}

function matches(recovered: RecoveredLog, moment: Moment): boolean {
  const base = recovered.snapshot!;
  const sameEntries = moment.entries.filter(({ index }) => index > base.index);
  return (
    JSON.stringify(plain(recovered.hardState)) === JSON.stringify(plain(moment.hardState)) &&
    base.index >= moment.start.index &&
    (recovered.entries.at(-1)?.index ?? base.index) ===
      (moment.entries.at(-1)?.index ?? moment.start.index) &&
    JSON.stringify(recovered.entries.map(bare)) === JSON.stringify(sameEntries.map(bare))
  );
}

const plain = (hardState: HardState): unknown => ({ ...hardState, vote: hardState.vote.toString() });
const bare = (entry: Entry): unknown => [entry.index, entry.term, entry.data.length, entry.data[0]];

async function openOn(disk: SimulatedDisk): Promise<Awaited<ReturnType<typeof WalRaftStorage.open>>> {
  const log = await Log.open({
    directory: '/log',
    fileSystem: disk,
    segmentSizeBytes: 4096,
    reserveBytes: 0,
  });
  return WalRaftStorage.open(log);
}

describe('WalRaftStorage on a disk that crashes', () => {
  it('comes back with all that was durable and nothing that was never asked for', async () => {
    for (let seed = 1; seed <= seeds; seed++) {
      const random = new Random(seed);
      let disk = new SimulatedDisk(random);
      let { storage } = await openOn(disk);
      const first: SnapshotMeta = { index: 0, term: 0, configuration };
      await storage.restart(first);
      let moment: Moment = {
        hardState: { term: 0, vote: 0n, commit: 0 },
        start: { index: 0, term: 0 },
        entries: [],
      };
      for (let lives = 0; lives < 4; lives++) {
        const life = new Life(moment);
        life.compacted = moment.start.index;
        disk.crashAt = disk.operations + 1 + draw(random, 80);
        const under: Promise<void>[] = [];
        for (let i = 0; i < operationsPerLife && !disk.crashed; i++) {
          const work = operate(random, life, storage).catch(() => undefined);
          under.push(work);
          // Sometimes several are under way at once.
          if (random.chance(0.7)) await work;
        }
        await Promise.all(under);
        disk.crash();
        await storage.close().catch(() => undefined);
        disk = disk.afterCrash();
        const opened = await openOn(disk);
        ({ storage } = opened);
        const candidates = life.moments.slice(life.acknowledged);
        const found = candidates.findLast((candidate) => matches(opened.recovered, candidate));
        if (found === undefined) {
          throw new Error(
            `seed ${seed}, life ${lives}: ${JSON.stringify(opened.recovered.entries.map(bare))} at ${JSON.stringify(plain(opened.recovered.hardState))} behind ${opened.recovered.snapshot?.index} is none of ${JSON.stringify(candidates.map((c) => [c.entries.map(bare), plain(c.hardState), c.start.index]))}`,
          );
        }
        moment = { ...found, start: opened.recovered.snapshot!, entries: opened.recovered.entries };
      }
      await storage.close();
    }
    expect.assertions(0);
  });
});
