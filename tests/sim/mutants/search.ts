import { Simulation } from '../simulation.ts';
import { installRules } from './mutants.ts';
import type { Mutant } from './mutants.ts';

interface Search {
  /** The first seed that caught it, and by what. */
  readonly caughtBy: { readonly seed: number; readonly message: string } | undefined;
  readonly seeds: number;
  readonly events: number;
}

/** Runs the faults that provoke a mutant until something is noticed or its seeds are used up. */
export function search(mutant: Mutant, from = 1): Search {
  const restore = installRules(mutant.rules ?? {});
  let events = 0;
  try {
    for (let seed = from; seed < from + mutant.seeds; seed++) {
      const outcome = new Simulation(seed, { overrides: mutant.faults, parts: mutant.parts ?? {} }).run();
      events += outcome.events;
      if (outcome.violation !== undefined) {
        return { caughtBy: { seed, message: outcome.violation.message }, seeds: seed - from + 1, events };
      }
    }
  } finally {
    restore();
  }
  return { caughtBy: undefined, seeds: mutant.seeds, events };
}

/** The same faults without the mutant: nothing may be noticed. */
export function control(mutant: Mutant, options: { from: number; seeds: number }): Search {
  return search(
    { name: mutant.name, bug: mutant.bug, faults: mutant.faults, seeds: options.seeds },
    options.from,
  );
}
