import { describe, expect, test } from 'vitest';
import { DrivenLife } from './driven.ts';
import { mutants } from './mutants/mutants.ts';
import { control, search } from './mutants/search.ts';
import { Simulation } from './simulation.ts';

/** A few seconds of what `node tests/sim/run.ts` does for hours. */
const events = 6000;

describe('the true core', () => {
  test.each(Array.from({ length: 8 }, (_, i) => 1 + 5 * i))('five seeds from %d break no promise', (from) => {
    for (let seed = from; seed < from + 5; seed++) {
      const { violation, undecided } = new Simulation(seed, { overrides: { events } }).run();
      expect(violation, `node tests/sim/run.ts --seed ${seed} --events ${events}`).toBeUndefined();
      expect(undecided).toBe(0);
    }
  });

  test('a seed gives the same trace each time, and another seed another', () => {
    const traces = [1, 2, 3, 1, 2, 3].map(
      (seed) => new Simulation(seed, { overrides: { events: 3000 } }).run().hash,
    );
    expect(traces.slice(0, 3)).toEqual(traces.slice(3));
    expect(new Set(traces).size).toBe(3);
  });
});

describe('the real driver', () => {
  const parts = { newLife: (...of: ConstructorParameters<typeof DrivenLife>) => new DrivenLife(...of) };
  const run = (seed: number) => new Simulation(seed, { overrides: { events: 5000 }, parts }).runAsync();

  test('ten seeds break no promise', async () => {
    for (let seed = 1; seed <= 10; seed++) {
      const { violation } = await run(seed);
      expect(violation, `node tests/sim/run.ts --driver --seed ${seed} --events 5000`).toBeUndefined();
    }
  });

  test('a seed gives the same trace each time', async () => {
    expect((await run(3)).hash).toBe((await run(3)).hash);
  });
});

describe('mutants', () => {
  test.each(mutants.filter(({ rare }) => rare !== true))('$name is caught: $bug', async (mutant) => {
    expect((await search(mutant)).caughtBy).toBeDefined();
  });

  test('the faults alone are not taken for mutants', async () => {
    for (const mutant of mutants) {
      const short = { ...mutant, faults: { ...mutant.faults, events: 2000 } };
      const { caughtBy } = await control(short, { seeds: 1 });
      expect(caughtBy, mutant.name).toBeUndefined();
    }
  });
});
