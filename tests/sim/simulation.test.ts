import { describe, expect, test } from 'vitest';
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

describe('mutants', () => {
  test.each(mutants.filter(({ rare }) => rare !== true))('$name is caught: $bug', (mutant) => {
    expect(search(mutant).caughtBy).toBeDefined();
  });

  test('the faults alone are not taken for mutants', () => {
    for (const mutant of mutants) {
      const { caughtBy } = control(
        { ...mutant, faults: { ...mutant.faults, events: 2000 } },
        { from: 1, seeds: 1 },
      );
      expect(caughtBy, mutant.name).toBeUndefined();
    }
  });
});
