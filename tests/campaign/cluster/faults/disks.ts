import { open, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describeDelays, drawHangingDisk, drawSlowDisk } from '../../disk_delays.ts';
import type { Fault } from '../../fault.ts';
import { databaseIds } from '../fleet.ts';
import type { SmallDisk } from '../small_disk.ts';
import { wholeMs, type Scene } from './scene.ts';

/** Disks that are lost, damaged, slow, and, where there is a small one, full. */
export function diskFaults(scene: Scene, smallDisk: SmallDisk | undefined): Fault[] {
  const faults: Fault[] = [
    { name: 'a wiped disk', run: () => wipe(scene) },
    { name: 'bit flips in segments', run: () => flipBits(scene) },
    { name: 'a slow disk', run: () => slow(scene) },
    { name: 'a disk that hangs', run: () => hang(scene) },
  ];
  if (smallDisk !== undefined) faults.push({ name: 'a full disk', run: () => fill(scene, smallDisk) });
  return faults;
}

async function wipe({ fleet, random, log, nodes }: Scene): Promise<void> {
  const id = random.pick(nodes());
  log(`node ${id} loses its disk`);
  await fleet.kill(`node-${id}`);
  await fleet.wipe(id);
  await sleep(random.between(0, 4000));
  await fleet.startNode(id);
}

async function flipBits(scene: Scene): Promise<void> {
  const { fleet, random, log, wholeness, onViolation } = scene;
  const id = random.pick(scene.nodes());
  const directory = join(fleet.directoryOf(id), 'log');
  for (let i = 0; i < 20; i += 1) {
    const names = (await readdir(directory)).filter((name) => !name.includes('lock'));
    const path = join(directory, random.pick(names));
    const { size } = await stat(path);
    if (size < 4096) continue;
    const file = await open(path, 'r+');
    try {
      // Somewhere in the first part: segments are as long as they may become, and mostly not yet written.
      const at = random.between(4096, Math.min(size - 1, 32 * 1024 * 1024));
      const byte = Buffer.alloc(1);
      await file.read(byte, 0, 1, at);
      if (byte.readUInt8() === 0) continue;
      byte.writeUInt8(byte.readUInt8() ^ (1 << random.below(8)));
      await file.write(byte, 0, 1, at);
      log(`node ${id}: a bit at ${at} of ${path}`);
    } finally {
      await file.close();
    }
  }
  // Reading everything stands in for the scrubber, which takes days: nothing may be lost to a later fault meanwhile.
  const untilMs = performance.now() + wholeMs;
  for (;;) {
    const { missing } = await wholeness.look({ readAll: true });
    log(`${missing.length} shards are damaged or missing`);
    if (missing.length === 0) return;
    if (performance.now() > untilMs) {
      onViolation(`damage was not repaired: ${missing.slice(0, 5).join(', ')}`);
      return;
    }
    await sleep(3000);
  }
}

async function slow({ fleet, random, log, nodes }: Scene): Promise<void> {
  const name = random.chance(0.7) ? `node-${random.pick(nodes())}` : `db-${random.pick(databaseIds)}`;
  const delays = drawSlowDisk(random);
  log(`the disk of ${name} is slow: ${describeDelays(delays)}`);
  await fleet.diskOf(name).slow(delays);
  await sleep(random.between(5000, 25_000));
  if (random.chance(0.3)) {
    log(`kill -9 ${name}, in the middle of what its disk does`);
    await fleet.kill(name);
  }
}

/** Once or a few times for some seconds. */
async function hang({ fleet, random, log, nodes }: Scene): Promise<void> {
  const name = random.chance(0.7) ? `node-${random.pick(nodes())}` : `db-${random.pick(databaseIds)}`;
  const disk = fleet.diskOf(name);
  for (let times = random.between(1, 3); times > 0; times -= 1) {
    const delays = drawHangingDisk(random);
    log(`the disk of ${name} hangs: ${describeDelays(delays)}`);
    await disk.slow(delays);
    await sleep(random.between(1000, 5000));
    await disk.heal();
    await sleep(random.between(500, 3000));
  }
}

async function fill({ random, log }: Scene, smallDisk: SmallDisk): Promise<void> {
  const { node, bytes } = await smallDisk.fill();
  log(`the disk of node ${node} is full: ${bytes} bytes go to something else`);
  await sleep(random.between(10_000, 20_000));
  await smallDisk.empty();
}
