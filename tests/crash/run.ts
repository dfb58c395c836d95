/**
 * `make crash-points`: stops the machine of a log and of a shard store at every call that changes something, and checks
 * what is left. `node tests/crash/run.ts [--points 300000] [--seconds 180] [--seed 1] [--only log|store]` runs until
 * one of the bounds; then `--mutants`: every known bug must be found. The same seed gives the same histories.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { catchMutants } from './mutants/catch.ts';
import { searchCrashes } from './search.ts';

const { values } = parseArgs({
  options: {
    points: { type: 'string', default: '300000' },
    seconds: { type: 'string', default: '180' },
    seed: { type: 'string', default: '1' },
    step: { type: 'string', default: '0' },
    only: { type: 'string' },
    mutants: { type: 'boolean', default: false },
  },
});
const print = (line: string): void => void process.stdout.write(`${line}\n`);
const [points, seconds, seed, step] = [values.points, values.seconds, values.seed, values.step].map(
  Number,
) as [number, number, number, number];

if (values.mutants) {
  process.exitCode = (await catchMutants(print)) ? 0 : 1;
} else if (step > 0) {
  const { crashes } = await searchCrashes({ points, seconds, seed, step, only: values.only });
  process.send?.({ crashes });
} else {
  const workers = Math.max(1, availableParallelism());
  const started = performance.now();
  const counts = await Promise.all(
    Array.from({ length: workers }, async (_, worker) => {
      const share = ['--points', String(points / workers), '--seconds', String(seconds)];
      const seeds = ['--seed', String(seed + worker), '--step', String(workers)];
      const only = values.only === undefined ? [] : ['--only', values.only];
      const child = fork(import.meta.filename, [...share, ...seeds, ...only]);
      let crashes = 0;
      child.on('message', (message: { crashes: number }) => (crashes = message.crashes));
      const [code] = (await once(child, 'exit')) as [number | null];
      if (code !== 0) process.exitCode = 1;
      return crashes;
    }),
  );
  const total = counts.reduce((a, b) => a + b, 0);
  const took = ((performance.now() - started) / 1000).toFixed(0);
  print(`${total.toLocaleString('en')} crashes in ${took} s from seed ${seed}`);
  if (process.exitCode !== 1)
    print('nothing acknowledged was lost, nothing wrong was served, every index was right');
}
