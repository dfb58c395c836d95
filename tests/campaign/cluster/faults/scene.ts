import type { Random } from '../../../sim/random.ts';
import type { TestNetwork } from '../../network/test_network.ts';
import type { Fleet } from '../fleet.ts';
import type { Wholeness } from '../wholeness.ts';

/** What faults are done to and with. */
export interface Scene {
  readonly fleet: Fleet;
  readonly network: TestNetwork;
  readonly wholeness: Wholeness;
  readonly random: Random;
  readonly log: (line: string) => void;
  readonly onViolation: (what: string) => void;
  /** Of those that are members now. */
  readonly nodes: () => readonly number[];
  /** Waits until every object is whole. */
  readonly whole: (after: string) => Promise<void>;
}

/** How long the cluster may take to be whole again after a fault, on a machine that others use as well. */
export const wholeMs = 300_000;
