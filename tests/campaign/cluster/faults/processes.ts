import { setTimeout as sleep } from 'node:timers/promises';
import type { Fault } from '../../fault.ts';
import { canStepClocks, clockStepsSeconds } from '../../stepped_clock.ts';
import { databaseIds } from '../fleet.ts';
import type { Scene } from './scene.ts';

/** Ends of processes, pauses, and clocks that step where that can be done. */
export async function processFaults(scene: Scene): Promise<Fault[]> {
  const { random, nodes } = scene;
  return [
    { name: 'kill -9 of two nodes', run: () => killNodes(scene, 2) },
    { name: 'kill -9 of a node', run: () => killNodes(scene, 1) },
    { name: 'kill -9 of a database', run: () => killDatabase(scene) },
    { name: 'SIGSTOP of a node', run: () => pause(scene, `node-${random.pick(nodes())}`) },
    { name: 'SIGSTOP of a database', run: () => pause(scene, `db-${random.pick(databaseIds)}`) },
    { name: 'a sluggish node', run: () => sluggish(scene) },
    { name: 'kill -9 of everything', run: () => killAll(scene) },
    ...((await canStepClocks()) ? [{ name: 'a clock that steps', run: () => stepClock(scene) }] : []),
  ];
}

/** For a while; who heals starts them again. */
export async function killNodes({ fleet, random, log, nodes }: Scene, count: number): Promise<void> {
  for (const id of random.shuffled(nodes()).slice(0, count)) {
    log(`kill -9 node ${id}`);
    await fleet.kill(`node-${id}`);
  }
  await sleep(random.between(2000, 20_000));
}

async function killDatabase({ fleet, random, log }: Scene): Promise<void> {
  const id = random.pick(databaseIds);
  log(`kill -9 db ${id}`);
  await fleet.kill(`db-${id}`);
  await sleep(random.between(2000, 10_000));
}

async function killAll({ fleet, nodes }: Scene): Promise<void> {
  await Promise.all([
    ...nodes().map((id) => fleet.kill(`node-${id}`)),
    ...databaseIds.map((id) => fleet.kill(`db-${id}`)),
  ]);
  // A database alone waits for the others.
  await Promise.all(databaseIds.map((id) => fleet.startDatabase(id)));
  await Promise.all(nodes().map((id) => fleet.startNode(id)));
}

async function pause({ fleet, random, log }: Scene, name: string): Promise<void> {
  const ms = random.between(2000, 30_000);
  log(`SIGSTOP ${name} for ${ms} ms`);
  fleet.process(name)?.signal('SIGSTOP');
  await sleep(ms);
  fleet.process(name)?.signal('SIGCONT');
}

/** Runs a quarter of the time, as on a machine that has too much to do. */
async function sluggish({ fleet, random, log, nodes }: Scene): Promise<void> {
  const id = random.pick(nodes());
  const untilMs = performance.now() + random.between(5000, 20_000);
  log(`node ${id} is sluggish`);
  const server = fleet.process(`node-${id}`);
  while (performance.now() < untilMs) {
    server?.signal('SIGSTOP');
    await sleep(random.between(50, 600));
    server?.signal('SIGCONT');
    await sleep(random.between(20, 200));
  }
}

async function stepClock({ fleet, random, log, nodes }: Scene): Promise<void> {
  const name = random.chance(0.7) ? `node-${random.pick(nodes())}` : `db-${random.pick(databaseIds)}`;
  const seconds = random.pick(clockStepsSeconds);
  log(`the clock of ${name} steps by ${seconds} s`);
  await fleet.clockOf(name).set(seconds);
  await sleep(random.between(5000, 20_000));
}
