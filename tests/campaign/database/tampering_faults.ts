import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from '../../sim/random.ts';
import { describeDelays, drawHangingDisk, drawSlowDisk } from '../disk_delays.ts';
import type { Fault } from '../fault.ts';
import { canStepClocks, clockStepsSeconds } from '../stepped_clock.ts';
import type { ReplicaSet } from './replica_set.ts';

interface TamperingFaultsOptions {
  readonly set: ReplicaSet;
  readonly random: Random;
  readonly log: (line: string) => void;
  /** Whether somebody waits for surroundings that stay whole. */
  readonly isCalm: () => boolean;
}

/** Disks that are slow or hang, clocks that step; each for some seconds, also while processes end and begin. */
export class TamperingFaults {
  readonly #options: TamperingFaultsOptions;
  readonly #random: Random;

  constructor(options: TamperingFaultsOptions) {
    this.#options = options;
    this.#random = options.random;
  }

  async faults(): Promise<(Fault & { readonly weight: number })[]> {
    const clock = { name: 'clock step', weight: 3, run: () => this.#stepClock() };
    return [
      { name: 'slow disk', weight: 3, run: () => this.#slow() },
      { name: 'disk that hangs', weight: 2, run: () => this.#hang() },
      ...((await canStepClocks()) ? [clock] : []),
    ];
  }

  /** Disks are as fast as they are, and clocks right. */
  async mend(): Promise<void> {
    const { set } = this.#options;
    for (const id of set.ids) {
      await set.diskOf(id).heal();
      await set.clockOf(id).set(0);
    }
  }

  async #slow(): Promise<void> {
    const { set, log } = this.#options;
    const id = await this.#pick();
    const delays = drawSlowDisk(this.#random);
    log(`  the disk of db ${id} is slow: ${describeDelays(delays)}`);
    await set.diskOf(id).slow(delays);
    await this.#last(this.#random.between(5000, 20_000));
  }

  /** Once or a few times for some seconds. */
  async #hang(): Promise<void> {
    const { set, log } = this.#options;
    const id = await this.#pick();
    for (let times = this.#random.between(1, 3); times > 0; times -= 1) {
      const delays = drawHangingDisk(this.#random);
      log(`  the disk of db ${id} hangs: ${describeDelays(delays)}`);
      await set.diskOf(id).slow(delays);
      await this.#last(this.#random.between(1000, 4000));
      await sleep(this.#random.between(500, 3000));
    }
  }

  async #stepClock(): Promise<void> {
    const { set, log } = this.#options;
    const id = await this.#pick();
    const seconds = this.#random.pick(clockStepsSeconds);
    log(`  the clock of db ${id} steps by ${seconds} s`);
    await set.clockOf(id).set(seconds);
    await this.#last(this.#random.between(3000, 15_000));
  }

  /** The leader half of the time, when there is one. */
  async #pick(): Promise<number> {
    const { set } = this.#options;
    const leader = this.#random.chance(0.5) ? await set.leader() : undefined;
    return leader ?? this.#random.pick(set.ids);
  }

  /** For so long, or until there is to be calm; then it ends. */
  async #last(ms: number): Promise<void> {
    const untilMs = performance.now() + ms;
    while (performance.now() < untilMs && !this.#options.isCalm()) await sleep(100);
    await this.mend();
  }
}
