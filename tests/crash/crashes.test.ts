import { expect, it } from 'vitest';
import { searchCrashes } from './search.ts';

it(
  'nothing acknowledged is lost or served wrong, whichever call the machine stops at',
  { timeout: 120_000 },
  async () => {
    const { crashes } = await searchCrashes({
      points: 1500,
      seconds: 60,
      seed: 1000,
      step: 1,
      only: undefined,
    });
    expect(crashes).toBeGreaterThan(300);
  },
);
