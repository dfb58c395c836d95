import type { Random } from '../sim/random.ts';
import type { DiskDelays } from './slow_disk.ts';

/** As of a disk that is worn or shared. */
export function drawSlowDisk(random: Random): DiskDelays {
  const [sync, read, write] = [random.between(50, 2000), random.between(5, 200), random.between(0, 100)];
  return { sync: [sync / 4, sync], read: [read / 4, read], write: [0, write] };
}

/** As of a disk that does nothing for some seconds: whatever is asked of it waits. */
export function drawHangingDisk(random: Random): DiskDelays {
  const ms = random.between(2000, 10_000);
  return { sync: [ms / 2, ms], read: [ms / 2, ms], write: [ms / 2, ms] };
}

/** For the report. */
export function describeDelays({ sync, read, write }: DiskDelays): string {
  return `syncs wait up to ${sync[1]} ms, reads ${read[1]} ms, writes ${write[1]} ms`;
}
