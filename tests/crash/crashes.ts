import { Random, SimulatedDisk } from '../../wal/testing/simulated_disk.ts';
import { isCrash } from '../../wal/testing/simulated_files.ts';

/** A history of one store on one disk, with everything that may be asked about it at any moment. */
export interface History<World> {
  /** The disk that this life works on, and what its owner may expect of it. */
  readonly world: World;
  readonly disk: SimulatedDisk;
}

/** How a kind of store lives, and what must hold after any crash. */
export interface Subject<World> {
  readonly name: string;
  empty(): World;
  /** As it is now; what happens to the original later doesn't show. */
  copy(world: World): World;
  /** One life of the process: opens, works, ends by itself or with the disk. */
  live(history: History<World>, random: Random): Promise<void>;
  /** Opens the disk after a crash or the end of a process, and checks all there is. @throws on anything wrong */
  check(history: History<World>, random: Random): Promise<void>;
  /** Just opens and closes: for crashes while recovering. */
  open(history: History<World>): Promise<void>;
}

interface SearchOptions {
  readonly seed: number;
  /** Outcomes that are tried of each crash: which unsynced sectors and directory entries survive. */
  readonly outcomes?: number;
}

const lives = 2;

/**
 * Lets a store live on a simulated disk and stops the machine at every call that changes something: before each of
 * them the disk is copied, crashed and opened again. Some histories meet failing calls or a full disk as well.
 * @returns the number of crashes. @throws Error that names seed, life and call
 */
export async function crashEverywhere<World>(
  subject: Subject<World>,
  options: SearchOptions,
): Promise<number> {
  const { seed, outcomes = 2 } = options;
  const random = new Random(seed);
  let disk = new SimulatedDisk(random);
  const world = subject.empty();
  let crashes = 0;
  for (let life = 0; life < lives; life += 1) {
    provoke(disk, random);
    const moments: (History<World> & { readonly number: number })[] = [];
    const living = disk;
    living.observe = (number) => {
      moments.push({ number, disk: living.copy(new Random(0)), world: subject.copy(world) });
    };
    const where = (number: number): string => `${subject.name}, seed ${seed}, life ${life}, call ${number}`;
    await named(where(0), () => subject.live({ world, disk: living }, random));
    for (const moment of moments) {
      for (let outcome = 0; outcome < outcomes; outcome += 1) {
        const chance = new Random(((seed * 31 + life) * 4096 + moment.number) * 8 + outcome);
        await named(where(moment.number), () => crash(subject, moment, chance));
        crashes += 1;
      }
    }
    // The process ended, the machine didn't: the next life sees what is in the page cache.
    disk = living.afterProcessEnd();
    disk.capacityBytes = Infinity;
    await named(where(-1), () => subject.check({ world, disk }, random));
    disk = disk.afterProcessEnd();
  }
  return crashes;
}

/** Crashes the moment, sometimes the recovery from it as well, and checks what is left. */
async function crash<World>(subject: Subject<World>, moment: History<World>, chance: Random): Promise<void> {
  const world = subject.copy(moment.world);
  let disk = moment.disk.copy(chance).afterCrash();
  disk.capacityBytes = Infinity;
  while (chance.chance(0.25)) {
    disk.crashAt = 1 + chance.below(12);
    await unlessCrashed(() => subject.open({ world, disk }));
    disk.crash();
    disk = disk.afterCrash();
  }
  await subject.check({ world, disk }, chance);
}

/** A third of the histories have a call that fails, a fifth a disk that fills up. */
function provoke(disk: SimulatedDisk, random: Random): void {
  if (random.chance(0.33)) {
    const failing = 5 + random.below(60);
    const fault = (['EIO', 'ENOSPC', 'ENOSPC', 'lose'] as const)[random.below(4)];
    disk.fault = ({ number }) => (number === failing ? fault : undefined);
  } else if (random.chance(0.3)) {
    disk.capacityBytes = 6000 + random.below(40_000);
  }
}

/** The machine's end is the end of what ran on it; anything else isn't. */
async function unlessCrashed(action: () => Promise<void>): Promise<void> {
  try {
    await action();
  } catch (error) {
    if (!isCrash(error)) throw error;
  }
}

/** Whether the disk or the space gave out, as a store's owner may see it. */
export function isDiskTrouble(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  return /^(log_failed|log_full|index_damaged|EIO|ENOSPC)$/.test(code);
}

async function named(where: string, action: () => Promise<void>): Promise<void> {
  try {
    await action();
  } catch (error) {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    throw new Error(`${where}: ${text}`, { cause: error });
  }
}
