import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from '../../sim/random.ts';
import { chosen, type Fault } from '../fault.ts';
import type { TestNetwork } from '../network/test_network.ts';
import { flipByteInLog, removeState } from './damage.ts';
import { NetworkFaults } from './network_faults.ts';
import type { ReplicaSet } from './replica_set.ts';
import { TamperingFaults } from './tampering_faults.ts';

export interface NemesisOptions {
  readonly set: ReplicaSet;
  readonly network: TestNetwork;
  readonly random: Random;
  /** Gets a line for each thing that is done. */
  readonly log: (line: string) => void;
  readonly onViolation: (what: string) => void;
  /** Names of faults; the others are left out. */
  readonly only: string | undefined;
  /** Milliseconds on the `performance` clock; no fault begins later. */
  readonly endMs: number;
}

/**
 * With the network whole, all replicas must be whole again after so long, if this machine gave them time to work: they must
 * all have said so often how they are. On a starved machine it may take as long as `starvedMs`.
 */
const recoveryMs = 180_000;
const enoughAnswers = 100;
const starvedMs = 900_000;
/** For so long partitions and the like may go on to come and go meanwhile. */
const turbulentMs = 20_000;
/** For a change of members, also while partitions and slow disks come and go. */
const membershipMs = 120_000;
const pollMs = 250;

type WeightedFault = Fault & { readonly weight: number };

/** Does to processes, disks, clocks and the network what may happen to them: one fault of each sort at a time. */
export class Nemesis {
  readonly #options: NemesisOptions;
  readonly #random: Random;
  readonly counts: Record<string, number> = {};
  /** Times to full recovery, of all replicas. */
  readonly recoveriesMs: number[] = [];
  readonly #network: NetworkFaults;
  readonly #tampering: TamperingFaults;
  /** Who waits for surroundings that stay whole. */
  #calm = 0;

  constructor(options: NemesisOptions) {
    this.#options = options;
    this.#random = options.random;
    const isCalm = (): boolean => this.#calm > 0;
    this.#network = new NetworkFaults({ ...options, random: options.random.fork(), isCalm });
    this.#tampering = new TamperingFaults({ ...options, random: options.random.fork(), isCalm });
  }

  /** Until its end; then everything is whole, or a violation has been reported. */
  async run(): Promise<void> {
    const sorts = [
      { faults: this.#processFaults(), pauseMs: 2500 },
      { faults: this.#network.faults, pauseMs: 3500 },
      { faults: await this.#tampering.faults(), pauseMs: 4500 },
    ];
    const all = new Set(
      chosen(
        sorts.flatMap(({ faults }) => faults),
        this.#options.only,
      ),
    );
    await Promise.all(
      sorts.map(({ faults, pauseMs }) =>
        this.#repeat(
          faults.filter((fault) => all.has(fault)),
          pauseMs,
        ),
      ),
    );
    await this.heal();
    await this.whole('at the end');
  }

  /** The network is whole, disks and clocks are as they should be, and every replica runs. */
  async heal(): Promise<void> {
    const { set } = this.#options;
    await this.#network.mend();
    await this.#tampering.mend();
    for (const id of set.ids) {
      set.resume(id);
      if (!set.isRunning(id)) await set.startReplica(id);
    }
  }

  /** Waits until every replica is a voter, sees one leader and has applied what is committed. */
  async whole(when: string, timeoutMs = recoveryMs): Promise<boolean> {
    const { set, onViolation } = this.#options;
    const startMs = performance.now();
    let last = '';
    let answers = 0;
    let calm = false;
    try {
      for (;;) {
        const tookMs = performance.now() - startMs;
        if (tookMs > starvedMs || (tookMs > timeoutMs && answers > enoughAnswers)) break;
        if (!calm && tookMs > turbulentMs) {
          calm = true;
          this.#calm++;
          await this.#network.mend();
          await this.#tampering.mend();
        }
        const statuses = await set.statuses();
        if (statuses.every((status) => status !== undefined)) answers++;
        last = JSON.stringify(statuses);
        const commit = Math.max(...statuses.map((status) => status?.commit_index ?? Infinity));
        const leaders = new Set(statuses.map((status) => status?.leader_id));
        const ready = statuses.every(
          (status) =>
            status !== undefined &&
            status.applied_index >= commit - 1000 &&
            status.learners.length === 0 &&
            status.voters.length === set.ids.length &&
            set.ids.every((id) => status.voters.includes(id)),
        );
        if (ready && leaders.size === 1 && !leaders.has(null)) {
          this.recoveriesMs.push(performance.now() - startMs);
          return true;
        }
        await sleep(pollMs);
      }
    } finally {
      if (calm) this.#calm--;
    }
    onViolation(`${when}: not whole again after ${Math.round(performance.now() - startMs)} ms: ${last}`);
    return false;
  }

  async #repeat(faults: readonly WeightedFault[], pauseMs: number): Promise<void> {
    const { endMs, log } = this.#options;
    const startMs = performance.now();
    const total = faults.reduce((sum, fault) => sum + fault.weight, 0);
    for (;;) {
      await sleep(Math.min(this.#random.around(pauseMs), 4 * pauseMs));
      if (performance.now() >= endMs) return;
      let at = this.#random.float() * total;
      const fault = faults.find(({ weight }) => (at -= weight) < 0) ?? faults[0];
      if (fault === undefined) return;
      this.counts[fault.name] = (this.counts[fault.name] ?? 0) + 1;
      log(`+${((performance.now() - startMs) / 1000).toFixed(2)} s ${fault.name} begins`);
      await fault.run();
      log(`+${((performance.now() - startMs) / 1000).toFixed(2)} s ${fault.name} ends`);
    }
  }

  #processFaults(): WeightedFault[] {
    return [
      { name: 'kill', weight: 5, run: () => this.#kill(1) },
      { name: 'kill the leader', weight: 4, run: () => this.#killLeader() },
      { name: 'kill several', weight: 2, run: () => this.#kill(this.#random.between(2, this.#size)) },
      { name: 'pause', weight: 4, run: () => this.#pause() },
      { name: 'rolling restart', weight: 1, run: () => this.#rollingRestart() },
      { name: 'transfer', weight: 4, run: () => this.#transfer() },
      {
        name: 'wiped disk',
        weight: 1.5,
        run: () => this.#destroy('wiped', (id) => this.#options.set.wipe(id)),
      },
      { name: 'leave and join', weight: 1, run: () => this.#leaveAndJoin() },
      {
        name: 'flipped byte',
        weight: 1,
        run: () =>
          this.#destroy('log damaged', async (id) => {
            const what = await flipByteInLog(this.#options.set.directoryOf(id), this.#random);
            this.#options.log(`  db ${id}: ${what}`);
          }),
      },
      {
        name: 'lost state',
        weight: 1,
        run: () => this.#destroy('state removed', (id) => removeState(this.#options.set.directoryOf(id))),
      },
    ];
  }

  get #ids(): readonly number[] {
    return this.#options.set.ids;
  }

  get #size(): number {
    return this.#ids.length;
  }

  async #kill(count: number): Promise<void> {
    await this.#killAll(this.#random.shuffled(this.#ids).slice(0, count));
  }

  async #killLeader(): Promise<void> {
    const leader = await this.#options.set.leader();
    if (leader !== undefined) await this.#killAll([leader]);
  }

  async #killAll(ids: readonly number[]): Promise<void> {
    const { set, log } = this.#options;
    log(`  kill -9 db ${ids.join(', ')}`);
    await Promise.all(ids.map((id) => set.stop(id, 'SIGKILL')));
    await sleep(this.#random.between(0, 4000));
    for (const id of ids) await set.startReplica(id);
    await sleep(this.#random.between(500, 4000));
  }

  async #pause(): Promise<void> {
    const { set, log } = this.#options;
    const leader = this.#random.chance(0.5) ? await set.leader() : undefined;
    const ids = this.#random.chance(0.8)
      ? [leader ?? this.#random.pick(this.#ids)]
      : this.#random.shuffled(this.#ids).slice(0, this.#random.between(2, this.#size));
    log(`  pause db ${ids.join(', ')}`);
    for (const id of ids) set.pause(id);
    await sleep(this.#random.between(100, 8000));
    for (const id of ids) set.resume(id);
  }

  async #rollingRestart(): Promise<void> {
    const { set } = this.#options;
    for (const id of this.#random.shuffled(this.#ids)) {
      await set.stop(id, 'SIGTERM');
      await set.startReplica(id);
      const untilMs = performance.now() + 20_000;
      while (typeof (await set.status(id))?.leader_id !== 'number' && performance.now() < untilMs) {
        await sleep(pollMs);
      }
    }
  }

  async #transfer(): Promise<void> {
    const { set, log } = this.#options;
    const leader = await set.leader();
    if (leader === undefined) return;
    const to = this.#random.pick(this.#ids);
    const answer = await set.post(leader, '/v1/transfer', { id: to }, 5000);
    log(`  transfer from db ${leader} to db ${to}: ${answer?.status ?? 'no answer'}`);
  }

  /**
   * What one replica has on disk is lost or damaged while the others have theirs. Only once all are whole: losses of two at a
   * time are more than three replicas promise to survive.
   */
  async #destroy(what: string, damage: (id: number) => Promise<void>): Promise<void> {
    const { set, log } = this.#options;
    if (!(await this.whole(`before ${what}`))) return;
    const id = this.#random.pick(this.#ids);
    log(`  db ${id}: ${what}`);
    await set.stop(id, 'SIGKILL');
    await damage(id);
    await set.startReplica(id);
    await this.whole(`db ${id} ${what}`);
  }

  async #leaveAndJoin(): Promise<void> {
    const { set, log, onViolation } = this.#options;
    if (!(await this.whole('before a replica leaves'))) return;
    const id = this.#random.pick(this.#ids);
    set.setMayEnd(id, true);
    const left = await this.#onLeader('/v1/leave', { id }, id);
    log(`  db ${id} leaves: ${left ? 'done' : 'refused'}`);
    if (!left) {
      set.setMayEnd(id, false);
      return;
    }
    await set.stop(id, 'SIGTERM');
    await set.wipe(id);
    const others = this.#ids.filter((other) => other !== id);
    const joined = await this.#onLeader('/v1/join', set.addressOf(id), id);
    log(`  db ${id} is announced: ${joined ? 'done' : 'refused'}`);
    if (!joined) onViolation(`db ${id} could not be announced again to ${others.join()}`);
    await set.startReplica(id);
    await this.whole(`db ${id} joined again`);
  }

  /** Asks whoever leads, except one; false when nobody does it for a while. */
  async #onLeader(path: string, body: object, except: number): Promise<boolean> {
    const { set } = this.#options;
    const untilMs = performance.now() + membershipMs;
    while (performance.now() < untilMs) {
      const leader = await set.leader();
      if (leader === except) {
        const other = this.#random.pick(this.#ids.filter((id) => id !== except));
        await set.post(leader, '/v1/transfer', { id: other }, 5000);
      } else if (leader !== undefined) {
        const answer = await set.post(leader, path, body, 8000);
        if (answer?.status === 200) return true;
        // Done, but the answer was lost: then the one that left is not among the voters any more.
        const status = await set.status(leader);
        if (path === '/v1/leave' && status?.role === 'leader' && !status.voters.includes(except)) return true;
      }
      await sleep(pollMs);
    }
    return false;
  }
}
