import { createHash, randomBytes } from 'node:crypto';
import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';

/** What this machine can do at best, measured in the same run as what it is compared with. */
export interface Limits {
  /** One 4 KiB append + fdatasync after the other, per second. */
  readonly fdatasyncPerSecond: number;
  /** 1 MiB appends, each followed by an fdatasync: what a log of big records can reach. MiB/s. */
  readonly syncedWriteMiBs: number;
  /** Appends with one fdatasync at the end, MiB/s. */
  readonly sequentialWriteMiBs: number;
  readonly md5MiBs: number;
}

const MiB = 1 << 20;

export async function measureLimits(directory: string): Promise<Limits> {
  const path = join(directory, 'limit.tmp');
  const small = randomBytes(4096);
  const large = randomBytes(MiB);
  try {
    return {
      fdatasyncPerSecond: await rate(path, { piece: small, syncEach: true, durationMs: 1000 }),
      syncedWriteMiBs: await rate(path, { piece: large, syncEach: true, durationMs: 2000 }),
      sequentialWriteMiBs: await rate(path, { piece: large, syncEach: false, durationMs: 2000 }),
      md5MiBs: md5Rate(large),
    };
  } finally {
    await rm(path, { force: true });
  }
}

/** Pieces appended per second. */
async function rate(
  path: string,
  load: { piece: Buffer; syncEach: boolean; durationMs: number },
): Promise<number> {
  const file = await open(path, 'w');
  const started = performance.now();
  let pieces = 0;
  while (performance.now() - started < load.durationMs && pieces < 2000) {
    await file.write(load.piece);
    if (load.syncEach) await file.datasync();
    pieces++;
  }
  await file.datasync();
  await file.close();
  return pieces / ((performance.now() - started) / 1000);
}

function md5Rate(piece: Buffer): number {
  const hash = createHash('md5');
  const started = performance.now();
  let pieces = 0;
  while (performance.now() - started < 500) {
    hash.update(piece);
    pieces++;
  }
  hash.digest();
  return pieces / ((performance.now() - started) / 1000);
}
