import { parseArgs } from 'node:util';
import { DrivenLife } from './driven.ts';
import { keptSeeds } from './kept_seeds.ts';
import { mutants } from './mutants/mutants.ts';
import { control, search } from './mutants/search.ts';
import { Simulation } from './simulation.ts';
import type { Outcome } from './simulation.ts';

/**
 * node tests/sim/run.ts --seed N             one seed: its settings, and the step at which it failed, if it did
 * node tests/sim/run.ts --seeds N --from M   many, after those that once failed; the first that fails is printed in full
 * with --driver                              the same over s3db/driver.ts, in place of the simulator's own small driver
 * node tests/sim/run.ts --mutants [NAME]     every mutant (or those whose name begins so) must be caught, and its faults alone must not
 */
const { values, positionals } = parseArgs({
  options: {
    seed: { type: 'string' },
    seeds: { type: 'string' },
    from: { type: 'string', default: '1' },
    events: { type: 'string', default: '20000' },
    mutants: { type: 'boolean', default: false },
    driver: { type: 'boolean', default: false },
  },
  allowPositionals: true,
});

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

async function runSeed(seed: number): Promise<Outcome> {
  const overrides = { events: Number(values.events) };
  if (!values.driver) return new Simulation(seed, { overrides }).run();
  return new Simulation(seed, { overrides, parts: { newLife: (...of) => new DrivenLife(...of) } }).runAsync();
}

function describe({ settings, events, hash, violation, undecided, counts }: Outcome): void {
  print(JSON.stringify(settings, undefined, 2));
  print(
    `${events} events, trace ${hash.toString(16)}, ${undecided} histories undecided, ${JSON.stringify(counts)}`,
  );
  if (violation === undefined) return;
  print(`FAILED at event ${events}: ${violation.stack ?? violation.message}`);
  print(
    `replay: node tests/sim/run.ts --seed ${settings.seed} --events ${settings.events}${values.driver ? ' --driver' : ''}`,
  );
}

async function runSeeds(from: number, count: number): Promise<void> {
  const began = performance.now();
  let events = 0;
  let undecided = 0;
  const totals: Record<string, number> = {};
  const seeds = Array.from({ length: count }, (_, i) => from + i);
  for (const seed of [...keptSeeds.map((kept) => kept.seed), ...seeds]) {
    const outcome = await runSeed(seed);
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

async function runMutants(prefix: string): Promise<void> {
  const { driver } = values;
  const from = Number(values.from);
  for (const mutant of mutants.filter(({ name }) => name.startsWith(prefix))) {
    // The bug is in a part of the small driver.
    if (driver && mutant.parts?.newLife !== undefined) continue;
    const began = performance.now();
    const { caughtBy, seeds, events } = await search(mutant, { from, driver });
    const { caughtBy: falseAlarm } = await control(mutant, { from, seeds: Math.min(seeds, 20), driver });
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    const by =
      caughtBy === undefined
        ? 'NOT CAUGHT'
        : `caught by seed ${caughtBy.seed}: ${caughtBy.message.slice(0, 120)}`;
    print(`${mutant.name}: ${seeds} seeds, ${events} events, ${seconds} s: ${by}`);
    if (falseAlarm !== undefined)
      print(`  FALSE ALARM without it, seed ${falseAlarm.seed}: ${falseAlarm.message}`);
    if (caughtBy === undefined || falseAlarm !== undefined) process.exitCode = 1;
  }
}

if (values.mutants) {
  await runMutants(positionals[0] ?? '');
} else if (values.seed !== undefined) {
  const outcome = await runSeed(Number(values.seed));
  describe(outcome);
  if (outcome.violation !== undefined) process.exitCode = 1;
} else {
  await runSeeds(Number(values.from), Number(values.seeds ?? '100'));
}
