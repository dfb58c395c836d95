import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from '../../sim/random.ts';
import type { Fault } from '../fault.ts';
import { cutsBetween, type Cut, type TestNetwork } from '../network/test_network.ts';
import { drawSlowNetwork } from '../slow_network.ts';
import type { ReplicaSet } from './replica_set.ts';

export interface NetworkFaultsOptions {
  readonly set: ReplicaSet;
  readonly network: TestNetwork;
  readonly random: Random;
  readonly log: (line: string) => void;
  /** Whether somebody waits for a network that stays whole. */
  readonly isCalm: () => boolean;
}

/** Partitions of all kinds, and ways that are slow; each for some seconds. */
export class NetworkFaults {
  readonly #options: NetworkFaultsOptions;
  readonly #random: Random;
  /** The one at hand, which ends when it is not this any more. */
  #current: object | undefined;

  constructor(options: NetworkFaultsOptions) {
    this.#options = options;
    this.#random = options.random;
  }

  /** What the network at hand can do. */
  get faults(): (Fault & { readonly weight: number })[] {
    const { network } = this.#options;
    const cuts = [
      { name: 'isolate', weight: 3, run: async () => this.#isolate(this.#random.pick(this.#ids)) },
      {
        name: 'isolate the leader',
        weight: 3,
        run: async () => this.#isolate((await this.#options.set.leader()) ?? this.#random.pick(this.#ids)),
      },
      { name: 'split', weight: 2, run: () => this.#split() },
      { name: 'one way', weight: 3, run: () => this.#oneWay() },
      { name: 'bridge', weight: 1.5, run: () => this.#bridge() },
      { name: 'clients cut off', weight: 1, run: () => this.#cutClients() },
    ];
    const delays = [{ name: 'slow network', weight: 3, run: () => this.#slow() }];
    return [...(network.canCut ? cuts : []), ...(network.canDelay ? delays : [])];
  }

  /** Everything arrives, at once. */
  async mend(): Promise<void> {
    const { network } = this.#options;
    this.#current = undefined;
    await network.cut([]);
    await network.delay(undefined);
  }

  get #ids(): readonly number[] {
    return this.#options.set.ids;
  }

  get #size(): number {
    return this.#ids.length;
  }

  async #isolate(id: number): Promise<void> {
    const others = this.#ids.filter((other) => other !== id);
    const withClients = this.#random.chance(0.5) ? [0] : [];
    await this.#cutFor(cutsBetween([id], [...others, ...withClients]), `db ${id} alone`);
  }

  async #split(): Promise<void> {
    const shuffled = this.#random.shuffled(this.#ids);
    const at = this.#random.between(1, this.#size - 1);
    const [one, two] = [shuffled.slice(0, at), shuffled.slice(at)];
    await this.#cutFor(cutsBetween(one, two), `db ${one.join()} from db ${two.join()}`);
  }

  async #oneWay(): Promise<void> {
    const leader = this.#random.chance(0.6) ? await this.#options.set.leader() : undefined;
    const id = leader ?? this.#random.pick(this.#ids);
    const others = this.#random.shuffled(this.#ids.filter((other) => other !== id));
    const some = others.slice(0, this.#random.between(1, others.length));
    const outward = this.#random.chance(0.5);
    const cuts = some.map((other): Cut => (outward ? [id, other] : [other, id]));
    await this.#cutFor(cuts, `what db ${id} ${outward ? 'sends to' : 'hears from'} db ${some.join()}`);
  }

  /** All see one replica, and only that one. */
  async #bridge(): Promise<void> {
    const id = this.#random.pick(this.#ids);
    const others = this.#ids.filter((other) => other !== id);
    const cuts = others.flatMap((a) => others.filter((b) => b !== a).map((b): Cut => [a, b]));
    await this.#cutFor(cuts, `all but those through db ${id}`);
  }

  async #cutClients(): Promise<void> {
    const ids = this.#random.shuffled(this.#ids).slice(0, this.#random.between(1, this.#size));
    await this.#cutFor(cutsBetween([0], ids), `clients from db ${ids.join()}`);
  }

  async #slow(): Promise<void> {
    const { set, network, log } = this.#options;
    const leader = this.#random.chance(0.4) ? await set.leader() : undefined;
    const host = leader ?? this.#random.pick(this.#ids);
    const { quality, description } = drawSlowNetwork(this.#random);
    const ms = this.#random.between(5000, 25_000);
    await this.#during(ms, async () => {
      log(`  slow to and from db ${host}: ${description}`);
      await network.delay({ ...quality, host, listeners: set.listeners });
    });
  }

  async #cutFor(cuts: readonly Cut[], what: string): Promise<void> {
    const { network, log } = this.#options;
    await this.#during(Math.min(15_000, this.#random.around(4000)), async () => {
      log(`  cut: ${what}`);
      await network.cut(cuts);
    });
  }

  /** Ends it as well, unless that was done before. */
  async #during(ms: number, begin: () => Promise<void>): Promise<void> {
    if (this.#options.isCalm()) return;
    const current = {};
    this.#current = current;
    await begin();
    // Somebody may have asked for calm while it began.
    if (this.#current === current) await sleep(ms);
    if (this.#current === current || this.#options.isCalm()) await this.mend();
  }
}
