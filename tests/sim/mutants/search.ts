import { DrivenLife } from '../driven.ts';
import { Simulation } from '../simulation.ts';
import type { Outcome } from '../simulation.ts';
import { installRules } from './mutants.ts';
import type { Mutant } from './mutants.ts';

interface Search {
  /** The first seed that caught it, and by what. */
  readonly caughtBy: { readonly seed: number; readonly message: string } | undefined;
  readonly seeds: number;
  readonly events: number;
}

interface SearchOptions {
  /** The first seed. */
  readonly from?: number;
  /** In place of the mutant's own number. */
  readonly seeds?: number;
  /** Over s3db/driver.ts. */
  readonly driver?: boolean;
}

/** Runs the faults that provoke a mutant until something is noticed or its seeds are used up. */
export async function search(mutant: Mutant, options: SearchOptions = {}): Promise<Search> {
  const restore = installRules(mutant.rules ?? {});
  try {
    return await run(mutant, options);
  } finally {
    restore();
  }
}

/** The same faults without the mutant: nothing may be noticed. */
export function control(mutant: Mutant, options: SearchOptions): Promise<Search> {
  const { name, bug, faults, seeds } = mutant;
  return run({ name, bug, faults, seeds }, options);
}

async function run(mutant: Mutant, options: SearchOptions): Promise<Search> {
  const { from = 1, seeds = mutant.seeds, driver = false } = options;
  let events = 0;
  for (let seed = from; seed < from + seeds; seed++) {
    const outcome = await simulate(mutant, { seed, driver });
    events += outcome.events;
    if (outcome.violation !== undefined) {
      return { caughtBy: { seed, message: outcome.violation.message }, seeds: seed - from + 1, events };
    }
  }
  return { caughtBy: undefined, seeds, events };
}

async function simulate(
  mutant: Mutant,
  { seed, driver }: { seed: number; driver: boolean },
): Promise<Outcome> {
  const overrides = mutant.faults;
  if (!driver) return new Simulation(seed, { overrides, parts: mutant.parts ?? {} }).run();
  const parts = {
    ...mutant.parts,
    newLife: (...of: ConstructorParameters<typeof DrivenLife>) => new DrivenLife(...of),
  };
  return new Simulation(seed, { overrides, parts }).runAsync();
}
