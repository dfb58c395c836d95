import { setTimeout as sleep } from 'node:timers/promises';
import type { Fault } from '../../fault.ts';
import { killNodes } from './processes.ts';
import { wholeMs, type Scene } from './scene.ts';

/** Nodes that join, leave and are replaced. */
export class Membership {
  readonly #scene: Scene;
  /** The node that was added last, and is to be removed again. */
  #extra: number | undefined;

  constructor(scene: Scene) {
    this.#scene = scene;
  }

  get nodes(): readonly number[] {
    return [0, 1, 2, 3, 4, ...(this.#extra === undefined ? [] : [this.#extra])];
  }

  get faults(): Fault[] {
    return [
      { name: 'a node that is replaced', run: () => this.#replace() },
      { name: 'a node that joins', run: () => this.#join() },
      { name: 'a node that is removed', run: () => this.#remove() },
      { name: 'a drain that is taken back', run: () => this.#drainAndBack() },
    ];
  }

  /** Another machine takes the node's place: another address, an empty disk. */
  async #replace(): Promise<void> {
    const { fleet } = this.#scene;
    const id = this.#scene.random.pick([0, 1, 2, 3]);
    fleet.moveNode(id);
    this.#scene.log(`node ${id} is replaced by another at port ${fleet.addressOf(id).port}`);
    await fleet.kill(`node-${id}`);
    await fleet.wipe(id);
    if (this.#scene.random.chance(0.5))
      await fleet.admin('POST', `/nodes/${id}/replace`, fleet.addressOf(id));
    await fleet.startNode(id);
  }

  async #join(): Promise<void> {
    const { fleet } = this.#scene;
    if (this.#extra !== undefined) {
      await this.#remove();
      await this.#scene.whole('a removal');
    }
    const id = fleet.takeNewNode();
    if (id === undefined) return;
    this.#scene.log(`node ${id} joins`);
    if (this.#scene.random.chance(0.5)) await fleet.admin('POST', '/nodes', { id, ...fleet.addressOf(id) });
    await fleet.startNode(id);
    this.#extra = id;
    // While shards are moved, so that moving is interrupted as well.
    if (this.#scene.random.chance(0.5)) await killNodes(this.#scene, 1);
  }

  async #remove(): Promise<void> {
    const { fleet, wholeness, onViolation } = this.#scene;
    const id = this.#extra;
    if (id === undefined) return;
    this.#scene.log(`node ${id} is removed`);
    await fleet.admin('DELETE', `/nodes/${id}`);
    if (this.#scene.random.chance(0.4)) {
      const other = this.#scene.random.pick([0, 1, 2, 3, 4]);
      this.#scene.log(`kill -9 node ${other} meanwhile`);
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
    const { fleet } = this.#scene;
    if (this.#extra === undefined) return;
    const id = this.#scene.random.pick(this.nodes);
    this.#scene.log(`node ${id} is drained, and taken back`);
    await fleet.admin('POST', `/nodes/${id}/drain`);
    await sleep(this.#scene.random.between(1000, 15_000));
    await fleet.admin('POST', `/nodes/${id}/activate`);
  }
}
