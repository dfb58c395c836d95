/** What some clients, each with one call at a time, got done. */
export interface Measured {
  readonly calls: number;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** Calls of `run(n)` with rising n by so many clients at a time. */
export async function measure(
  load: { readonly clients: number; readonly seconds: number },
  run: (n: number) => Promise<void>,
): Promise<Measured> {
  const latencies: number[] = [];
  const startMs = performance.now();
  const endMs = startMs + load.seconds * 1000;
  let n = 0;
  await Promise.all(
    Array.from({ length: load.clients }, async () => {
      for (let began = performance.now(); began < endMs;) {
        await run(n++);
        const now = performance.now();
        latencies.push(now - began);
        began = now;
      }
    }),
  );
  const elapsedMs = performance.now() - startMs;
  latencies.sort((a, b) => a - b);
  const at = (q: number): number => latencies[Math.floor((latencies.length - 1) * q)] ?? 0;
  return {
    calls: latencies.length,
    perSecond: (latencies.length * 1000) / elapsedMs,
    p50Ms: at(0.5),
    p99Ms: at(0.99),
  };
}

/** The middle of several runs, each figure by itself. */
export function median(runs: readonly Measured[]): Measured {
  const middle = (figure: (run: Measured) => number): number =>
    runs.map(figure).toSorted((a, b) => a - b)[Math.floor(runs.length / 2)] ?? 0;
  return {
    calls: runs.reduce((sum, { calls }) => sum + calls, 0),
    perSecond: middle((run) => run.perSecond),
    p50Ms: middle((run) => run.p50Ms),
    p99Ms: middle((run) => run.p99Ms),
  };
}
