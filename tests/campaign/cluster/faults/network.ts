import { setTimeout as sleep } from 'node:timers/promises';
import type { Fault } from '../../fault.ts';
import { drawSlowNetwork } from '../../slow_network.ts';
import { cutsBetween, type Cut } from '../../network/test_network.ts';
import { databaseIds, hostOf, hostsOfFleet } from '../fleet.ts';
import type { Scene } from './scene.ts';

const hosts = Array.from({ length: hostsOfFleet }, (_, i) => i + 1);

/** What the network at hand can do. */
export function networkFaults(scene: Scene): Fault[] {
  const { network, random, nodes } = scene;
  const cuts = [
    { name: 'a node that is cut off', run: () => cutOff(scene, hostOf(random.pick(nodes()))) },
    { name: 'a database that is cut off', run: () => cutOff(scene, random.pick(databaseIds)) },
    { name: 'packets lost one way', run: () => oneWay(scene) },
  ];
  const delays = [
    { name: 'a slow network to a node', run: () => slow(scene, hostOf(random.pick(nodes()))) },
    { name: 'a slow network to a database', run: () => slow(scene, random.pick(databaseIds)) },
  ];
  return [...(network.canCut ? cuts : []), ...(network.canDelay ? delays : [])];
}

async function cutOff({ network, random, log }: Scene, host: number): Promise<void> {
  log(`host ${host} is cut off from all others`);
  const others = hosts.filter((other) => other !== host);
  await network.cut(cutsBetween([host], others));
  await sleep(random.between(3000, 25_000));
}

async function oneWay({ network, random, log }: Scene): Promise<void> {
  const cuts = Array.from({ length: random.between(1, 3) }, (): Cut => {
    const [from = 1, to = 2] = random.shuffled(hosts);
    return [from, to];
  });
  log(`lost one way: ${cuts.map(([from, to]) => `${from} -> ${to}`).join(', ')}`);
  await network.cut(cuts);
  await sleep(random.between(3000, 20_000));
}

async function slow({ fleet, network, random, log }: Scene, host: number): Promise<void> {
  const { quality, description } = drawSlowNetwork(random);
  log(`the way to host ${host} is slow: ${description}`);
  await network.delay({ ...quality, host, listeners: fleet.listeners });
  // Connections take a few seconds to come back: long enough to be used once they have.
  await sleep(random.between(10_000, 30_000));
}
