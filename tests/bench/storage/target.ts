/** One line of the report: what was measured, and what it has to reach. */
export interface Measured {
  readonly name: string;
  readonly value: number;
  readonly unit: 'x' | 'GB/s' | '/s' | 's' | 'MB';
  /** At least this, or (`most`) at most. */
  readonly target: number;
  readonly most?: boolean;
  /** The absolute figures behind a ratio. */
  readonly detail?: string;
}

export function isReached({ value, target, most }: Measured): boolean {
  return most === true ? value <= target : value >= target;
}

export function describe(measured: Measured): string {
  const { name, value, unit, target, most, detail } = measured;
  const digits = unit === '/s' || unit === 'MB' ? 0 : 2;
  const bound = `${most === true ? '<=' : '>='} ${target} ${unit}`;
  const verdict = isReached(measured) ? 'reached' : 'NOT REACHED';
  const line = `${name.padEnd(52)} ${`${value.toFixed(digits)} ${unit}`.padStart(12)}  ${bound.padEnd(14)} ${verdict}`;
  return detail === undefined ? line : `${line.padEnd(96)} (${detail})`;
}

/**
 * The best of several runs of each, taken in turns: other work on the machine only ever slows a run down, and it slows
 * both sides of a ratio.
 */
export async function bestOf<K extends string>(
  rounds: number,
  runs: Readonly<Record<K, () => Promise<number> | number>>,
): Promise<Record<K, number>> {
  const best = new Map<string, number>();
  for (let round = 0; round < rounds; round += 1) {
    for (const [name, run] of Object.entries<() => Promise<number> | number>(runs)) {
      best.set(name, Math.max(best.get(name) ?? 0, await run()));
    }
  }
  return Object.fromEntries(best) as Record<K, number>;
}

/** Calls a second, `inFlight` at a time. */
export async function callsPerSecond(
  load: { readonly inFlight: number; readonly durationMs: number },
  call: () => Promise<unknown>,
): Promise<number> {
  const begin = performance.now();
  let calls = 0;
  await Promise.all(
    Array.from({ length: load.inFlight }, async () => {
      while (performance.now() - begin < load.durationMs) {
        await call();
        calls += 1;
      }
    }),
  );
  return (calls * 1000) / (performance.now() - begin);
}

export async function gigabytesPerSecond(bytes: number, action: () => Promise<void>): Promise<number> {
  const begin = performance.now();
  await action();
  return bytes / 1e6 / (performance.now() - begin);
}
