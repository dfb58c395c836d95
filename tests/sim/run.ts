import { parseArgs } from 'node:util';
import { Simulation } from './simulation.ts';
import type { Outcome } from './simulation.ts';

/**
 * node tests/sim/run.ts --seed N             one seed: its settings, and the step at which it failed, if it did
 * node tests/sim/run.ts --seeds N --from M   many; the first that fails is printed in full
 */
const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    seeds: { type: 'string' },
    from: { type: 'string', default: '1' },
    events: { type: 'string', default: '20000' },
    mutants: { type: 'boolean', default: false },
  },
});

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

function runSeed(seed: number): Outcome {
  return new Simulation(seed, { overrides: { events: Number(values.events) } }).run();
}

function describe({ settings, events, hash, violation, undecided, counts }: Outcome): void {
  print(JSON.stringify(settings, undefined, 2));
  print(
    `${events} events, trace ${hash.toString(16)}, ${undecided} histories undecided, ${JSON.stringify(counts)}`,
  );
  if (violation === undefined) return;
  print(`FAILED at event ${events}: ${violation.stack ?? violation.message}`);
  print(`replay: node tests/sim/run.ts --seed ${settings.seed} --events ${settings.events}`);
}

function runSeeds(from: number, count: number): void {
  const began = performance.now();
  let events = 0;
  let undecided = 0;
  const totals: Record<string, number> = {};
  for (let seed = from; seed < from + count; seed++) {
    const outcome = runSeed(seed);
    events += outcome.events;
    undecided += outcome.undecided;
    for (const [name, number] of Object.entries(outcome.counts)) totals[name] = (totals[name] ?? 0) + number;
    if (outcome.violation !== undefined) {
      describe(outcome);
      process.exitCode = 1;
      return;
    }
  }
  const seconds = (performance.now() - began) / 1000;
  print(
    `${count} seeds from ${from}: ${events} events in ${seconds.toFixed(1)} s, ${Math.round(events / seconds)} a second`,
  );
  print(`${undecided} histories undecided, ${JSON.stringify(totals)}`);
}

if (values.seed !== undefined) {
  const outcome = runSeed(Number(values.seed));
  describe(outcome);
  if (outcome.violation !== undefined) process.exitCode = 1;
} else {
  runSeeds(Number(values.from), Number(values.seeds ?? '100'));
}
