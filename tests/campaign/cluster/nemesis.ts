import { setTimeout as sleep } from 'node:timers/promises';
import { chosen, type Fault } from '../fault.ts';
import { diskFaults } from './faults/disks.ts';
import { Membership } from './faults/membership.ts';
import { networkFaults } from './faults/network.ts';
import { processFaults } from './faults/processes.ts';
import { wholeMs, type Scene } from './faults/scene.ts';
import { databaseIds } from './fleet.ts';
import type { SmallDisk } from './small_disk.ts';

export interface NemesisOptions extends Omit<Scene, 'nodes' | 'whole'> {
  readonly smallDisk: SmallDisk | undefined;
  /** Names of faults; the others are left out. */
  readonly only: string | undefined;
  readonly endMs: number;
  /** Of one cycle: fault, recovery, rest. */
  readonly restMs: number;
}

/** Breaks one thing after the other, and waits each time until every object is whole again. */
export class Nemesis {
  readonly #options: NemesisOptions;
  readonly counts: Record<string, number> = {};
  readonly recoveriesMs: number[] = [];
  readonly #membership: Membership;
  readonly #faults: readonly Fault[];

  private constructor(
    options: NemesisOptions,
    parts: { readonly membership: Membership; readonly faults: readonly Fault[] },
  ) {
    this.#options = options;
    this.#membership = parts.membership;
    this.#faults = parts.faults;
  }

  /** @throws RangeError when `only` names a fault that can't be done here */
  static async open(options: NemesisOptions): Promise<Nemesis> {
    const scene: Scene = {
      ...options,
      nodes: () => membership.nodes,
      whole: (after) => nemesis.whole(after),
    };
    const membership = new Membership(scene);
    const faults = [
      ...(await processFaults(scene)),
      ...diskFaults(scene, options.smallDisk),
      ...networkFaults(scene),
      ...membership.faults,
    ];
    const nemesis = new Nemesis(options, { membership, faults: chosen(faults, options.only) });
    return nemesis;
  }

  /** Until the time is up, or the signal comes: then after the fault at hand. */
  async run(signal: AbortSignal): Promise<void> {
    const { random, endMs, restMs } = this.#options;
    let faults: Fault[] = [];
    while (performance.now() < endMs && !signal.aborted) {
      // Each once before any comes again.
      if (faults.length === 0) faults = random.shuffled(this.#faults);
      const next = faults.pop();
      if (next === undefined) return;
      const { name } = next;
      this.counts[name] = (this.counts[name] ?? 0) + 1;
      this.#options.log(`--- ${name}`);
      const startMs = performance.now();
      await next.run();
      await this.heal();
      await this.whole(name);
      this.recoveriesMs.push(performance.now() - startMs);
      await sleep(restMs);
    }
  }

  /** All processes run, all packets arrive, all clocks are right, no disk is full or slow. */
  async heal(): Promise<void> {
    const { fleet, network, smallDisk } = this.#options;
    await network.cut([]);
    await network.delay(undefined);
    await smallDisk?.empty();
    for (const id of databaseIds) {
      await this.#heal(`db-${id}`);
      if (fleet.process(`db-${id}`)?.running !== true) await fleet.startDatabase(id);
    }
    for (const id of this.#membership.nodes) {
      await this.#heal(`node-${id}`);
      if (fleet.process(`node-${id}`)?.running !== true) await fleet.startNode(id);
    }
  }

  async #heal(name: string): Promise<void> {
    const { fleet } = this.#options;
    fleet.process(name)?.signal('SIGCONT');
    await fleet.clockOf(name).set(0);
    await fleet.diskOf(name).heal();
  }

  /** Resolves when no object is short and nothing is to be moved, as the cluster itself sees it. */
  async whole(after: string): Promise<void> {
    const { fleet, wholeness, onViolation } = this.#options;
    const startMs = performance.now();
    let last = 'nothing is known';
    let calm = 0;
    while (performance.now() - startMs < wholeMs) {
      try {
        const { nodes, repair } = (await fleet.admin('GET', '/nodes')) as ClusterAnswer;
        const away = nodes.filter((node) => node.membership !== 'removed' && node.state !== 'up');
        last = `${repair.objects} objects are short, rebalancing ${String(repair.rebalance.active)}, ${away.length} nodes are away: ${repair.reasons.join('; ')}`;
        calm = repair.objects === 0 && !repair.rebalance.active && away.length === 0 ? calm + 1 : 0;
        // Then the nodes themselves are asked: what one lacks is noticed a moment after it came.
        if (calm >= 2) {
          const { missing, misplaced } = await wholeness.look({ readAll: false });
          last = `${missing.length} shards are missing, ${misplaced} lie on no member: ${missing.slice(0, 3).join(', ')}`;
          if (missing.length + misplaced > 0) {
            calm = 0;
            continue;
          }
          this.#options.log(
            `whole again ${Math.round((performance.now() - startMs) / 1000)} s after ${after}`,
          );
          return;
        }
      } catch (error) {
        last = String(error);
      }
      await sleep(2000);
    }
    onViolation(`not whole ${wholeMs / 1000} s after ${after}: ${last}`);
  }
}

interface ClusterAnswer {
  readonly nodes: readonly { readonly id: number; readonly state: string; readonly membership: string }[];
  readonly repair: {
    readonly objects: number;
    readonly reasons: readonly string[];
    readonly rebalance: { readonly active: boolean };
  };
}
