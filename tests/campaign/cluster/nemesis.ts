import { execFile } from 'node:child_process';
import { mkdir, open, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { Random } from '../../sim/random.ts';
import type { Cut, TestNetwork } from '../network.ts';
import { databaseIds, hostOf, hostsOfFleet, type Fleet } from './fleet.ts';
import type { Wholeness } from './wholeness.ts';

const run = promisify(execFile);

export interface NemesisOptions {
  readonly fleet: Fleet;
  readonly network: TestNetwork;
  readonly wholeness: Wholeness;
  readonly random: Random;
  readonly log: (line: string) => void;
  readonly onViolation: (what: string) => void;
  readonly endMs: number;
  /** Of one cycle: fault, recovery, rest. */
  readonly restMs: number;
}

/** The node whose directory is a small mount of its own, where mounts can be made. */
const smallNode = 4;
const smallBytes = 1536 * 1024 * 1024;
/** How long the cluster may take to be whole again after a fault, on a machine that others use as well. */
const wholeMs = 300_000;

type Fault = (nemesis: Nemesis) => Promise<void>;

/** Breaks one thing after the other, and waits each time until every object is whole again. */
export class Nemesis {
  readonly #options: NemesisOptions;
  readonly counts: Record<string, number> = {};
  readonly recoveriesMs: number[] = [];
  #mount: string | undefined;
  /** The node that was added last, and is to be removed again. */
  #extra: number | undefined;

  constructor(options: NemesisOptions) {
    this.#options = options;
  }

  /** Before the fleet starts: gives one node a small disk, where that can be done. */
  static async mountSmallDisk(directory: string): Promise<string | undefined> {
    const place = join(directory, 'data', 'shards', `node-${smallNode}`);
    await mkdir(place, { recursive: true });
    try {
      await run('mount', ['-t', 'tmpfs', '-o', `size=${smallBytes}`, 's3d-campaign', place]);
      return place;
    } catch {
      // Not allowed here: the full disk is left out, and the report says so.
      return undefined;
    }
  }

  useMount(place: string | undefined): void {
    this.#mount = place;
  }

  /** Until the time is up, or the signal comes: then after the fault at hand. */
  async run(signal: AbortSignal): Promise<void> {
    const { random, endMs, restMs } = this.#options;
    let faults: (readonly [string, Fault])[] = [];
    while (performance.now() < endMs && !signal.aborted) {
      // Each once before any comes again.
      if (faults.length === 0) faults = random.shuffled(this.#faults());
      const next = faults.pop();
      if (next === undefined) return;
      const [name, fault] = next;
      this.counts[name] = (this.counts[name] ?? 0) + 1;
      this.#log(`--- ${name}`);
      const startMs = performance.now();
      await fault(this);
      await this.heal();
      await this.whole(name);
      this.recoveriesMs.push(performance.now() - startMs);
      await sleep(restMs);
    }
  }

  /** All processes run, all packets arrive, all clocks are right, no disk is full. */
  async heal(): Promise<void> {
    const { fleet, network } = this.#options;
    await network.cut([]);
    if (this.#mount !== undefined) await rm(join(this.#mount, 'ballast'), { force: true });
    for (const id of databaseIds) {
      fleet.process(`db-${id}`)?.signal('SIGCONT');
      if (fleet.process(`db-${id}`)?.running !== true) await fleet.startDatabase(id);
    }
    for (const id of this.#nodes()) {
      fleet.process(`node-${id}`)?.signal('SIGCONT');
      await fleet.setClock(id, 0);
      if (fleet.process(`node-${id}`)?.running !== true) await fleet.startNode(id);
    }
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
          this.#log(`whole again ${Math.round((performance.now() - startMs) / 1000)} s after ${after}`);
          return;
        }
      } catch (error) {
        last = String(error);
      }
      await sleep(2000);
    }
    onViolation(`not whole ${wholeMs / 1000} s after ${after}: ${last}`);
  }

  async close(): Promise<void> {
    if (this.#mount !== undefined) await run('umount', ['-l', this.#mount]);
  }

  #faults(): (readonly [string, Fault])[] {
    const { network } = this.#options;
    const list: [string, Fault][] = [
      ['kill -9 of two nodes', (nemesis) => nemesis.#killNodes(2)],
      ['kill -9 of a node', (nemesis) => nemesis.#killNodes(1)],
      ['kill -9 of a database', (nemesis) => nemesis.#killDatabase()],
      ['SIGSTOP of a node', (nemesis) => nemesis.#pause([`node-${nemesis.#pick()}`])],
      ['SIGSTOP of a database', (nemesis) => nemesis.#pause([`db-${nemesis.#random.pick(databaseIds)}`])],
      ['a sluggish node', (nemesis) => nemesis.#sluggish()],
      ['a wiped disk', (nemesis) => nemesis.#wipe()],
      ['bit flips in segments', (nemesis) => nemesis.#flipBits()],
      ['a clock that steps', (nemesis) => nemesis.#stepClock()],
      ['a node that is replaced', (nemesis) => nemesis.#replace()],
      ['a node that joins', (nemesis) => nemesis.#join()],
      ['a node that is removed', (nemesis) => nemesis.#remove()],
      ['a drain that is taken back', (nemesis) => nemesis.#drainAndBack()],
      ['kill -9 of everything', (nemesis) => nemesis.#killAll()],
    ];
    if (network.canCut) {
      list.push(
        ['a node that is cut off', (nemesis) => nemesis.#cutOff(hostOf(nemesis.#pick()))],
        ['a database that is cut off', (nemesis) => nemesis.#cutOff(nemesis.#random.pick(databaseIds))],
        ['packets lost one way', (nemesis) => nemesis.#oneWay()],
      );
    }
    if (this.#mount !== undefined) list.push(['a full disk', (nemesis) => nemesis.#fillDisk()]);
    return list;
  }

  get #random(): Random {
    return this.#options.random;
  }

  #nodes(): number[] {
    return [0, 1, 2, 3, 4, ...(this.#extra === undefined ? [] : [this.#extra])];
  }

  #pick(): number {
    return this.#random.pick(this.#nodes());
  }

  async #killNodes(count: number): Promise<void> {
    const victims = this.#random.shuffled(this.#nodes()).slice(0, count);
    for (const id of victims) {
      this.#log(`kill -9 node ${id}`);
      await this.#options.fleet.kill(`node-${id}`);
    }
    await sleep(this.#random.between(2000, 20_000));
  }

  async #killDatabase(): Promise<void> {
    const id = this.#random.pick(databaseIds);
    this.#log(`kill -9 db ${id}`);
    await this.#options.fleet.kill(`db-${id}`);
    await sleep(this.#random.between(2000, 10_000));
  }

  async #killAll(): Promise<void> {
    const { fleet } = this.#options;
    await Promise.all([
      ...this.#nodes().map((id) => fleet.kill(`node-${id}`)),
      ...databaseIds.map((id) => fleet.kill(`db-${id}`)),
    ]);
    // A database alone waits for the others.
    await Promise.all(databaseIds.map((id) => fleet.startDatabase(id)));
    await Promise.all(this.#nodes().map((id) => fleet.startNode(id)));
  }

  async #pause(names: readonly string[]): Promise<void> {
    const ms = this.#random.between(2000, 30_000);
    this.#log(`SIGSTOP ${names.join(', ')} for ${ms} ms`);
    for (const name of names) this.#options.fleet.process(name)?.signal('SIGSTOP');
    await sleep(ms);
    for (const name of names) this.#options.fleet.process(name)?.signal('SIGCONT');
  }

  /** Runs a quarter of the time, as with a disk that is about to die. */
  async #sluggish(): Promise<void> {
    const id = this.#pick();
    const untilMs = performance.now() + this.#random.between(5000, 20_000);
    this.#log(`node ${id} is sluggish`);
    const server = this.#options.fleet.process(`node-${id}`);
    while (performance.now() < untilMs) {
      server?.signal('SIGSTOP');
      await sleep(this.#random.between(50, 600));
      server?.signal('SIGCONT');
      await sleep(this.#random.between(20, 200));
    }
  }

  async #wipe(): Promise<void> {
    const { fleet } = this.#options;
    const id = this.#pick();
    this.#log(`node ${id} loses its disk`);
    await fleet.kill(`node-${id}`);
    await fleet.wipe(id);
    await sleep(this.#random.between(0, 4000));
    await fleet.startNode(id);
  }

  async #flipBits(): Promise<void> {
    const id = this.#pick();
    const directory = join(this.#options.fleet.directoryOf(id), 'log');
    for (let i = 0; i < 20; i += 1) {
      const names = (await readdir(directory)).filter((name) => !name.includes('lock'));
      const path = join(directory, this.#random.pick(names));
      const { size } = await stat(path);
      if (size < 4096) continue;
      const file = await open(path, 'r+');
      try {
        // Somewhere in the first part: segments are as long as they may become, and mostly not yet written.
        const at = this.#random.between(4096, Math.min(size - 1, 32 * 1024 * 1024));
        const byte = Buffer.alloc(1);
        await file.read(byte, 0, 1, at);
        if (byte.readUInt8() === 0) continue;
        byte.writeUInt8(byte.readUInt8() ^ (1 << this.#random.below(8)));
        await file.write(byte, 0, 1, at);
        this.#log(`node ${id}: a bit at ${at} of ${path}`);
      } finally {
        await file.close();
      }
    }
    // Reading everything stands in for the scrubber, which takes days: nothing may be lost to a later fault meanwhile.
    const untilMs = performance.now() + wholeMs;
    for (;;) {
      const { missing } = await this.#options.wholeness.look({ readAll: true });
      this.#log(`${missing.length} shards are damaged or missing`);
      if (missing.length === 0) return;
      if (performance.now() > untilMs) {
        this.#options.onViolation(`damage was not repaired: ${missing.slice(0, 5).join(', ')}`);
        return;
      }
      await sleep(3000);
    }
  }

  async #stepClock(): Promise<void> {
    const id = this.#pick();
    const seconds = this.#random.pick([-240, -60, 90, 280]);
    this.#log(`the clock of node ${id} steps by ${seconds} s`);
    await this.#options.fleet.setClock(id, seconds);
    await sleep(this.#random.between(5000, 20_000));
  }

  async #fillDisk(): Promise<void> {
    if (this.#mount === undefined) return;
    const { stdout } = await run('df', ['--output=avail', '-B1', this.#mount]);
    const free = Number(stdout.split('\n')[1]);
    this.#log(`the disk of node ${smallNode} is full: ${free} bytes go to something else`);
    await run('fallocate', [
      '-l',
      String(Math.max(free - 200 * 1024 * 1024, 1)),
      join(this.#mount, 'ballast'),
    ]);
    await sleep(this.#random.between(10_000, 20_000));
    await rm(join(this.#mount, 'ballast'), { force: true });
  }

  async #cutOff(host: number): Promise<void> {
    this.#log(`host ${host} is cut off from all others`);
    const others = Array.from({ length: hostsOfFleet }, (_, i) => i + 1).filter((other) => other !== host);
    await this.#options.network.cut(
      others.flatMap((other): Cut[] => [
        [host, other],
        [other, host],
      ]),
    );
    await sleep(this.#random.between(3000, 25_000));
  }

  async #oneWay(): Promise<void> {
    const hosts = Array.from({ length: hostsOfFleet }, (_, i) => i + 1);
    const cuts = Array.from({ length: this.#random.between(1, 3) }, (): Cut => {
      const [from = 1, to = 2] = this.#random.shuffled(hosts);
      return [from, to];
    });
    this.#log(`lost one way: ${cuts.map(([from, to]) => `${from} -> ${to}`).join(', ')}`);
    await this.#options.network.cut(cuts);
    await sleep(this.#random.between(3000, 20_000));
  }

  /** Another machine takes the node's place: another address, an empty disk. */
  async #replace(): Promise<void> {
    const { fleet } = this.#options;
    const id = this.#random.pick([0, 1, 2, 3]);
    fleet.moveNode(id);
    this.#log(`node ${id} is replaced by another at port ${fleet.addressOf(id).port}`);
    await fleet.kill(`node-${id}`);
    await fleet.wipe(id);
    if (this.#random.chance(0.5)) await fleet.admin('POST', `/nodes/${id}/replace`, fleet.addressOf(id));
    await fleet.startNode(id);
  }

  async #join(): Promise<void> {
    const { fleet } = this.#options;
    if (this.#extra !== undefined) {
      await this.#remove();
      await this.whole('a removal');
    }
    const id = fleet.takeNewNode();
    if (id === undefined) return;
    this.#log(`node ${id} joins`);
    if (this.#random.chance(0.5)) await fleet.admin('POST', '/nodes', { id, ...fleet.addressOf(id) });
    await fleet.startNode(id);
    this.#extra = id;
    // While shards are moved, so that moving is interrupted as well.
    if (this.#random.chance(0.5)) await this.#killNodes(1);
  }

  async #remove(): Promise<void> {
    const { fleet, wholeness, onViolation } = this.#options;
    const id = this.#extra;
    if (id === undefined) return;
    this.#log(`node ${id} is removed`);
    await fleet.admin('DELETE', `/nodes/${id}`);
    if (this.#random.chance(0.4)) {
      const other = this.#random.pick([0, 1, 2, 3, 4]);
      this.#log(`kill -9 node ${other} meanwhile`);
      await fleet.kill(`node-${other}`);
      await sleep(3000);
      await fleet.startNode(other);
    }
    const untilMs = performance.now() + wholeMs;
    while (performance.now() < untilMs) {
      const member = (await wholeness.members()).find((candidate) => candidate.id === id);
      if (member?.state === 'removed') {
        await fleet.kill(`node-${id}`);
        await fleet.wipe(id);
        this.#extra = undefined;
        const { missing, misplaced } = await wholeness.look({ readAll: false });
        if (misplaced > 0) {
          onViolation(
            `node ${id} was said to be empty, and ${misplaced} shards are named there: ${missing.slice(0, 3).join(', ')}`,
          );
        }
        return;
      }
      await sleep(1000);
    }
    onViolation(`node ${id} was not removed in ${wholeMs / 1000} s`);
  }

  async #drainAndBack(): Promise<void> {
    const { fleet } = this.#options;
    if (this.#extra === undefined) return;
    const id = this.#pick();
    this.#log(`node ${id} is drained, and taken back`);
    await fleet.admin('POST', `/nodes/${id}/drain`);
    await sleep(this.#random.between(1000, 15_000));
    await fleet.admin('POST', `/nodes/${id}/activate`);
  }

  #log(line: string): void {
    this.#options.log(line);
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
