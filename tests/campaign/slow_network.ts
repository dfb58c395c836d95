import type { Random } from '../sim/random.ts';
import type { Delay } from './network/test_network.ts';

/** How slow the way to some host is, and a line for the report. */
export function drawSlowNetwork(random: Random): {
  readonly quality: Omit<Delay, 'host' | 'listeners'>;
  readonly description: string;
} {
  // Most ways are about as slow back as forth, some are not.
  const toMs = random.between(20, 400);
  const fromMs = random.chance(0.7) ? toMs : random.between(20, 400);
  const lossShare = random.pick([0, 0.002, 0.02]);
  return {
    quality: {
      toMs: [toMs * 0.8, toMs * 1.3],
      fromMs: [fromMs * 0.8, fromMs * 1.3],
      lossShare,
      random: random.fork(),
    },
    description: `about ${toMs} ms there, ${fromMs} ms back, ${lossShare * 100} % of datagrams lost`,
  };
}
