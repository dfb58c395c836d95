import { crashEverywhere } from './crashes.ts';
import { logSubject } from './log_life.ts';
import { storeSubject } from './store_life.ts';

export interface CrashSearch {
  readonly points: number;
  readonly seconds: number;
  /** The first seed, and how far it is to the next. */
  readonly seed: number;
  readonly step: number;
  /** `log` or `store`. */
  readonly only: string | undefined;
}

/** Histories of a log and of a store in turns, until so many crashes or seconds. @throws when one goes wrong */
export async function searchCrashes(options: CrashSearch): Promise<{ readonly crashes: number }> {
  const { points, seconds, seed, step, only } = options;
  const endMs = performance.now() + seconds * 1000;
  let crashes = 0;
  for (let next = seed; crashes < points && performance.now() < endMs; next += step) {
    if (only !== 'store') crashes += await crashEverywhere(logSubject, { seed: next });
    if (only !== 'log') crashes += await crashEverywhere(storeSubject, { seed: next });
  }
  return { crashes };
}
