import type { Random } from '../../sim/random.ts';
import type { Range } from '../range.ts';

/** From one host to another, one way. Host 0 is where the run itself and its clients are. */
export type Cut = readonly [from: number, to: number];

/** Both ways, between each of these hosts and each of those. */
export function cutsBetween(these: readonly number[], those: readonly number[]): Cut[] {
  return these.flatMap((a) =>
    those.flatMap((b): Cut[] => [
      [a, b],
      [b, a],
    ]),
  );
}

/** What passes between one host and the others takes longer; what the run itself and its clients send does not. */
export interface Delay {
  readonly host: number;
  /** One way. Pieces of a connection stay in order, datagrams may not. */
  readonly toMs: Range;
  readonly fromMs: Range;
  /** How many of all datagrams get lost, from 0 to 1. */
  readonly lossShare: number;
  /** Where any of the hosts listens, over TCP, UDP or both: what goes elsewhere is refused meanwhile. */
  readonly listeners: readonly { readonly host: number; readonly port: number }[];
  readonly random: Random;
}

/** Hosts 1 to n, each reachable from all others until `cut` says otherwise. */
export interface TestNetwork {
  /** What it is made of, for the report. */
  readonly description: string;
  /** Whether `cut` can do anything. */
  readonly canCut: boolean;
  /** Whether `delay` can do anything. */
  readonly canDelay: boolean;
  address(host: number): string;
  /** What to put before a command so that it runs on the host. */
  prefix(host: number): readonly string[];
  /** From now on packets of exactly these directions vanish without a sign. */
  cut(cuts: readonly Cut[]): Promise<void>;
  /** From now on one host is slow to reach, or none. Connections that it concerns break when that begins and ends. */
  delay(delay: Delay | undefined): Promise<void>;
  /** Removes whatever was made. */
  close(): Promise<void>;
}
