import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { Log } from '../../../wal/log.ts';
import { bestOf, callsPerSecond, gigabytesPerSecond, type Measured } from './target.ts';

const kib = 1024;
const mib = 1024 * kib;
const durationMs = 700;
const sequentialBytes = 128 * mib;
const key = randomBytes(32);

/** Group commit against the system calls under it, on the same disk. */
export async function measureLog(directory: string, rounds: number): Promise<Measured[]> {
  const small = randomBytes(4 * kib);
  const large = randomBytes(mib);
  const log = await Log.open({ directory: join(directory, 'append') });
  // A file of its own for each round: a log never writes to pages that the kernel has already, so neither may this.
  let round = 0;
  const best = await bestOf(rounds, {
    oneByOne: () => plainSyncs(directory, small),
    grouped: () =>
      callsPerSecond({ inFlight: 64, durationMs }, () => log.append([{ type: 1, key, payload: small }])),
    dsync: () => plainDsync(join(directory, `dsync-${round++}`), large),
    appended: () => appendLarge(log, large),
  });
  await log.close();
  return [
    {
      name: '1 MiB appends against 1 MiB writes with O_DSYNC',
      value: best.appended / best.dsync,
      unit: 'x',
      target: 0.8,
      detail: `${(best.appended * 1000).toFixed(0)} and ${(best.dsync * 1000).toFixed(0)} MB/s`,
    },
    {
      name: '4 KiB appends by 64 writers against fdatasync one by one',
      value: best.grouped / best.oneByOne,
      unit: 'x',
      target: 5,
      detail: `${best.grouped.toFixed(0)} and ${best.oneByOne.toFixed(0)}/s`,
    },
    await measureRecovery(directory, rounds),
  ];
}

/** Opening a log with a full newest segment: all of it is read and checked. */
async function measureRecovery(directory: string, rounds: number): Promise<Measured> {
  const options = { directory: join(directory, 'recover'), segmentSizeBytes: 256 * mib };
  const block = randomBytes(256 * kib);
  const first = await Log.open(options);
  for (let at = 0; at < 960; at += 64)
    await Promise.all(Array.from({ length: 64 }, () => first.append([{ type: 1, key, payload: block }])));
  const [segment] = first.segments;
  await first.close();
  const bytes = segment?.sizeBytes ?? 0;
  const best = await bestOf(3 * rounds, {
    open: () =>
      gigabytesPerSecond(bytes, async () => {
        await (await Log.open(options)).close();
      }),
  });
  return { name: 'recovery scan', value: best.open, unit: 'GB/s', target: 1 };
}

async function appendLarge(log: Log, payload: Buffer): Promise<number> {
  return gigabytesPerSecond(sequentialBytes, async () => {
    let left = sequentialBytes / payload.length;
    await Promise.all(
      Array.from({ length: 16 }, async () => {
        while (left-- > 0) await log.append([{ type: 1, key, payload }]);
      }),
    );
  });
}

async function plainSyncs(directory: string, bytes: Buffer): Promise<number> {
  const file = await open(join(directory, 'plain'), 'w');
  let at = 0;
  const rate = await callsPerSecond({ inFlight: 1, durationMs }, async () => {
    await file.write(bytes, 0, bytes.length, at);
    await file.datasync();
    at += bytes.length;
  });
  await file.close();
  return rate;
}

async function plainDsync(path: string, bytes: Buffer): Promise<number> {
  const { O_WRONLY, O_CREAT, O_DSYNC } = constants;
  const file = await open(path, O_WRONLY | O_CREAT | O_DSYNC);
  const rate = await gigabytesPerSecond(sequentialBytes, async () => {
    for (let at = 0; at < sequentialBytes; at += bytes.length) await file.write(bytes, 0, bytes.length, at);
  });
  await file.close();
  return rate;
}
