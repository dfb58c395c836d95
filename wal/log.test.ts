import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { LogRecord, Position, ScanItem } from './append_log.ts';
import { Log } from './log.ts';
import type { LogOptions } from './log_options.ts';
import { Random, SimulatedDisk } from './testing/simulated_disk.ts';

const DIRECTORY = '/log';

function record(text: string, payload: string | Uint8Array = text): LogRecord {
  return { type: 1, key: Buffer.from(text), payload: Buffer.from(payload) };
}

function openOn(disk: SimulatedDisk, options: Partial<LogOptions> = {}): Promise<Log> {
  return Log.open({ directory: DIRECTORY, fileSystem: disk, reserveBytes: 0, ...options });
}

async function collect(items: AsyncIterable<ScanItem>): Promise<ScanItem[]> {
  const found: ScanItem[] = [];
  for await (const item of items) found.push(item);
  return found;
}

function keys(items: readonly ScanItem[]): string[] {
  return items.map((item) =>
    item.kind === 'record' ? Buffer.from(item.record.key).toString() : `damage ${item.segment}`,
  );
}

function segmentPath(id: number): string {
  return `${DIRECTORY}/${String(id).padStart(10, '0')}.seg`;
}

describe('Log on a real disk', () => {
  let directory: string;

  beforeEach(async () => {
    directory = await mkdtemp(path.join(tmpdir(), 's3d-log-'));
  });
  afterEach(async () => {
    await rm(directory, { recursive: true });
  });

  it('gives back what was appended, in order, after a reopen too', async () => {
    const random = new Random(1);
    const payloads = [0, 1, 2047, 2048, 4096, 70_000, 5_000_000].map((size) => random.bytes(size));
    let log = await Log.open({ directory });
    expect(log.recovery.created).toBe(true);
    const positions = await Promise.all(
      payloads.map(async (payload, place) => {
        const cut = payload.length >> 1;
        const pieces = [payload.subarray(0, cut), payload.subarray(cut)];
        return log.append([{ type: 7, key: Buffer.from([place]), payload: pieces }]);
      }),
    );
    for (const reopened of [false, true]) {
      if (reopened) {
        await log.close();
        log = await Log.open({ directory });
      }
      expect(log.recovery.cut).toEqual([]);
      for (const [place, payload] of payloads.entries()) {
        const read = await log.read(positions[place]![0]!);
        expect(read.type).toBe(7);
        expect([...read.key]).toEqual([place]);
        expect(payload.equals(read.payload)).toBe(true);
      }
      const items = await collect(log.scan());
      expect(items.map((item) => (item.kind === 'record' ? item.position : item))).toEqual(positions.flat());
    }
    await log.close();
  });

  it('refuses a second opener until it is closed', async () => {
    const log = await Log.open({ directory });
    await expect(Log.open({ directory })).rejects.toMatchObject({ code: 'log_locked' });
    await log.close();
    await (await Log.open({ directory })).close();
  });

  it('puts what waits into one group', async () => {
    const log = await Log.open({ directory });
    const done = Array.from({ length: 500 }, (_, place) => log.append([record(`r${place}`)]));
    const positions = (await Promise.all(done)).flat();
    for (let at = 1; at < positions.length; at += 1) {
      expect(positions[at]!.offset).toBe(positions[at - 1]!.offset + positions[at - 1]!.lengthBytes);
    }
    await log.close();
  });

  it('rolls, drops, and scans from a point', async () => {
    const log = await Log.open({ directory, segmentSizeBytes: 4096 });
    const positions: Position[] = [];
    for (let at = 0; at < 20; at += 1)
      positions.push(...(await log.append([record(`r${at}`, Buffer.alloc(1000))])));
    expect(log.segments.length).toBeGreaterThan(4);
    expect(log.segments.every((segment) => segment.sizeBytes <= 4096 + 200)).toBe(true);
    const middle = positions[10]!;
    expect(keys(await collect(log.scan(middle)))).toEqual(
      Array.from({ length: 10 }, (_, at) => `r${at + 10}`),
    );

    const rolled = await log.roll();
    expect(log.end).toEqual({ segment: rolled, offset: 64 });
    await expect(log.dropSegment(rolled)).rejects.toMatchObject({ code: 'segment_active' });
    await log.dropSegment(1);
    await expect(log.read(positions[0]!)).rejects.toMatchObject({ code: 'segment_not_found' });
    expect(await readdir(directory)).not.toContain('0000000001.seg');
    await log.close();
    const reopened = await Log.open({ directory });
    expect(keys(await collect(reopened.scan()))[0]).toBe(`r${positions.findIndex((p) => p.segment === 2)}`);
    await reopened.close();
  });

  it('keeps a segment that a scan holds, and unlinks it when the scan is over', async () => {
    const log = await Log.open({ directory, segmentSizeBytes: 4096 });
    for (let at = 0; at < 10; at += 1) await log.append([record(`r${at}`, Buffer.alloc(1000))]);
    const scan = log.scan();
    expect((await scan.next()).done).toBe(false);
    const dropped = log.dropSegment(2);
    expect(await readdir(directory)).toContain('0000000002.seg');
    expect(keys(await collect(scan))).toEqual(Array.from({ length: 9 }, (_, at) => `r${at + 1}`));
    await dropped;
    expect(await readdir(directory)).not.toContain('0000000002.seg');
    await log.close();
  });

  it('refuses records outside the limits of the format', async () => {
    const log = await Log.open({ directory });
    const invalid: LogRecord[] = [
      { type: 0, key: Buffer.alloc(1), payload: Buffer.alloc(1) },
      { type: 256, key: Buffer.alloc(1), payload: Buffer.alloc(1) },
      { type: 1, key: Buffer.alloc(256), payload: Buffer.alloc(1) },
      { type: 1, key: Buffer.alloc(1), payload: Buffer.alloc(16 * 1024 * 1024 + 1) },
    ];
    for (const bad of invalid)
      await expect(log.append([bad])).rejects.toMatchObject({ code: 'record_invalid' });
    await expect(log.append([])).rejects.toMatchObject({ code: 'record_invalid' });
    await log.append([record('good')]);
    await log.close();
    await expect(log.append([record('late')])).rejects.toMatchObject({ code: 'log_closed' });
  });
});

describe('torn tails and damage', () => {
  async function written(disk: SimulatedDisk, groups: readonly string[], close = true): Promise<Position[]> {
    const log = await openOn(disk);
    const positions: Position[] = [];
    for (const text of groups) positions.push(...(await log.append([record(text, text.repeat(100))])));
    if (close) await log.close();
    return positions;
  }

  it('cuts a bad last group of a log that was not closed, and keeps the bytes aside', async () => {
    const disk = new SimulatedDisk(new Random(1));
    const positions = await written(disk, ['a', 'b', 'c'], false);
    const next = disk.afterProcessEnd();
    next.flipBit(segmentPath(1), { offset: positions[2]!.offset + 60 });
    const log = await openOn(next);
    expect(log.recovery.damaged).toEqual([]);
    expect(log.recovery.cut).toMatchObject([{ segment: 1, from: positions[2]!.offset }]);
    expect(next.contents(`${DIRECTORY}/${log.recovery.cut[0]!.file}`).length).toBe(positions[2]!.lengthBytes);
    await log.append([record('d')]);
    expect(keys(await collect(log.scan()))).toEqual(['a', 'b', 'd']);
    await log.close();
  });

  it('knows the last group of a closed log for durable: damage, not a tear', async () => {
    const disk = new SimulatedDisk(new Random(1));
    const positions = await written(disk, ['a', 'b', 'c']);
    const next = disk.afterProcessEnd();
    next.flipBit(segmentPath(1), { offset: positions[2]!.offset + 60 });
    const log = await openOn(next);
    expect(log.recovery.cut).toEqual([]);
    expect(log.recovery.damaged).toMatchObject([{ segment: 1, from: positions[2]!.offset }]);
    await log.close();
  });

  it('never truncates damage in the middle, and goes on in a new segment', async () => {
    for (const flipAt of [0, 20, 49, 120]) {
      const disk = new SimulatedDisk(new Random(1));
      const positions = await written(disk, ['a', 'b', 'c', 'd'], false);
      const next = disk.afterProcessEnd();
      const size = next.contents(segmentPath(1)).length;
      next.flipBit(segmentPath(1), { offset: positions[1]!.offset + flipAt });
      const log = await openOn(next);
      expect(log.recovery.damaged).toMatchObject([
        { segment: 1, from: positions[1]!.offset, to: positions[2]!.offset },
      ]);
      expect(log.recovery.cut).toEqual([]);
      expect(next.contents(segmentPath(1)).length).toBeGreaterThanOrEqual(size);
      const [added] = await log.append([record('e')]);
      expect(added!.segment).toBe(2);
      expect(keys(await collect(log.scan()))).toEqual(['a', 'damage 1', 'c', 'd', 'e']);
      await expect(log.read(positions[1]!)).rejects.toMatchObject({ code: 'record_damaged' });
      await log.close();
      const again = await openOn(next.afterProcessEnd());
      expect(keys(await collect(again.scan()))).toEqual(['a', 'damage 1', 'c', 'd', 'e']);
      await again.close();
    }
  });

  it('names the owner of a damaged payload', async () => {
    const disk = new SimulatedDisk(new Random(1));
    const positions = await written(disk, ['a', 'b']);
    const next = disk.afterProcessEnd();
    next.flipBit(segmentPath(1), { offset: positions[0]!.offset + 80 });
    const log = await openOn(next);
    const [damage] = await collect(log.scan());
    expect(damage).toMatchObject({ kind: 'damage', owner: { type: 1, key: Buffer.from('a') } });
    await log.close();
  });

  it('reports a header that went bad, an unreadable stretch and a lost end', async () => {
    const disk = new SimulatedDisk(new Random(1));
    let log = await openOn(disk, { segmentSizeBytes: 4096 });
    const positions: Position[] = [];
    for (let at = 0; at < 12; at += 1)
      positions.push(...(await log.append([record(`r${at}`, Buffer.alloc(1500))])));
    await log.close();
    const next = disk.afterProcessEnd();
    next.flipBit(segmentPath(1), { offset: 20 });
    const unreadable = positions.find((position) => position.segment === 2)!;
    next.makeUnreadable(segmentPath(2), { from: unreadable.offset + 100, to: unreadable.offset + 101 });
    const file = await next.open(segmentPath(3), 'write');
    await file.truncate((await file.size()) - 49);
    log = await openOn(next, { segmentSizeBytes: 4096 });
    const items = await collect(log.scan());
    const damaged = items.flatMap((item) => (item.kind === 'damage' ? [item.segment] : []));
    expect([...new Set(damaged)]).toEqual([1, 2, 3]);
    await expect(log.read(unreadable)).rejects.toMatchObject({ code: 'record_damaged' });
    await log.close();
  });

  it('does not take a record image inside a payload for a record', async () => {
    const disk = new SimulatedDisk(new Random(1));
    const first = await openOn(disk);
    await first.append([record('a')]);
    await first.close();
    // A payload full of copies of a real record, and one of a record made for another log's id.
    const image = disk.contents(segmentPath(1)).subarray(64);
    let log = await openOn(disk);
    const [position] = await log.append([record('b', Buffer.concat([image, image, image]))]);
    await log.append([record('c')]);
    await log.close();
    const next = disk.afterProcessEnd();
    next.flipBit(segmentPath(1), { offset: position!.offset + 1 });
    log = await openOn(next);
    expect(keys(await collect(log.scan()))).toEqual(['a', 'damage 1', 'c']);
    await log.close();
  });

  it('refuses a segment of another log, and finds its id without log.id', async () => {
    const disk = new SimulatedDisk(new Random(1));
    await written(disk, ['a']);
    const next = disk.afterProcessEnd();
    await next.unlink(`${DIRECTORY}/log.id`);
    const log = await openOn(next);
    expect(keys(await collect(log.scan()))).toEqual(['a']);
    await log.close();

    const other = next.afterProcessEnd();
    await other.unlink(`${DIRECTORY}/log.id`);
    const foreign = await Log.open({ directory: '/other', fileSystem: other, reserveBytes: 0 });
    await foreign.close();
    await other.rename('/other/log.id', `${DIRECTORY}/log.id`);
    await expect(openOn(other)).rejects.toMatchObject({ code: 'log_damaged' });
  });
});

describe('failing disks', () => {
  it('is dead after a failed fdatasync, and what it lost is not taken for durable', async () => {
    const disk = new SimulatedDisk(new Random(1));
    const log = await openOn(disk);
    await log.append([record('a')]);
    let syncs = 0;
    disk.fault = ({ kind }) => (kind === 'sync' && ++syncs === 1 ? 'lose' : undefined);
    await expect(log.append([record('b')])).rejects.toMatchObject({ code: 'log_failed' });
    await expect(log.append([record('c')])).rejects.toMatchObject({ code: 'log_failed' });
    expect(log.failure).toMatchObject({ code: 'log_failed' });
    expect(syncs).toBe(1);
    await log.close();

    // The next process reads `b` from the page cache. Whatever it reports must then survive a power cut.
    const next = disk.afterProcessEnd();
    const reopened = await openOn(next);
    const seen = keys(await collect(reopened.scan()));
    expect(seen).toEqual(['a', 'b']);
    next.crash();
    const last = await openOn(next.afterCrash());
    expect(keys(await collect(last.scan()))).toEqual(seen);
  });

  it('refuses everything that waits when a write fails', async () => {
    const disk = new SimulatedDisk(new Random(1));
    const log = await openOn(disk);
    disk.fault = ({ kind }) => (kind === 'write' ? 'EIO' : undefined);
    const waiting = Array.from({ length: 5 }, (_, at) => log.append([record(`r${at}`)]));
    const outcomes = await Promise.allSettled([...waiting, log.roll()]);
    expect(outcomes.every(({ status }) => status === 'rejected')).toBe(true);
    await log.close();
  });

  it('gives up on a disk that hangs', async () => {
    const disk = new SimulatedDisk(new Random(1));
    const log = await openOn(disk, { stallTimeoutMs: 20 });
    disk.fault = ({ kind }) => (kind === 'sync' ? 'hang' : undefined);
    await expect(log.append([record('a')])).rejects.toMatchObject({ code: 'log_failed' });
    await log.close();
  });

  it('survives a full disk, keeps deletes going on the reserve, and resumes', async () => {
    const disk = new SimulatedDisk(new Random(1));
    disk.capacityBytes = 20_000;
    const log = await openOn(disk, { reserveBytes: 4000 });
    const kept: string[] = [];
    for (let at = 0; at < 10; at += 1) {
      try {
        await log.append([record(`r${at}`, Buffer.alloc(3000))]);
        kept.push(`r${at}`);
      } catch (error) {
        expect(error).toMatchObject({ code: 'log_full' });
        break;
      }
    }
    expect(kept.length).toBeGreaterThan(3);
    await expect(log.append([record('big', Buffer.alloc(3000))])).rejects.toMatchObject({ code: 'log_full' });
    await log.append([record('delete')], { essential: true });
    await expect(log.append([record('x', Buffer.alloc(9000))], { essential: true })).rejects.toMatchObject({
      code: 'log_full',
    });
    expect(log.failure).toBeUndefined();
    disk.capacityBytes = 1_000_000;
    await log.append([record('again')]);
    expect(keys(await collect(log.scan()))).toEqual([...kept, 'delete', 'again']);
    await log.close();
    const next = await openOn(disk.afterProcessEnd());
    expect(keys(await collect(next.scan()))).toEqual([...kept, 'delete', 'again']);
  });

  it('keeps essential appends of a group that found no space', async () => {
    const disk = new SimulatedDisk(new Random(1));
    disk.capacityBytes = 6_000;
    const log = await openOn(disk);
    await log.append([record('a')]);
    const outcomes = await Promise.allSettled([
      log.append([record('big', Buffer.alloc(9000))]),
      log.append([record('delete')], { essential: true }),
    ]);
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'fulfilled']);
    expect(keys(await collect(log.scan()))).toEqual(['a', 'delete']);
    await log.close();
  });

  it('keeps nothing of an append that it refused for lack of space, also after a crash', async () => {
    for (let seed = 1; seed <= 40; seed += 1) {
      const disk = new SimulatedDisk(new Random(seed));
      disk.capacityBytes = 6_000;
      const log = await openOn(disk);
      await log.append([record('a')]);
      // Essential, so that the write is tried although the reserve says no.
      const both = [record('b', Buffer.alloc(1500)), record('big', Buffer.alloc(9000))];
      const refused = log.append(both, { essential: true });
      await expect(refused).rejects.toMatchObject({ code: 'log_full' });
      disk.crash();
      const next = await openOn(disk.afterCrash());
      expect(keys(await collect(next.scan()))).toEqual(['a']);
      await next.close();
    }
  });

  it('bounds what waits', async () => {
    const disk = new SimulatedDisk(new Random(1));
    const log = await openOn(disk, { maxWaitingBytes: 10_000, stallTimeoutMs: 50 });
    disk.fault = ({ kind }) => (kind === 'sync' ? 'hang' : undefined);
    const appends = [log.append([record('a')])];
    let ready = false;
    for (let at = 0; at < 3; at += 1) appends.push(log.append([record(`r${at}`, Buffer.alloc(60_000))]));
    const waiting = log.ready(1).then(
      () => (ready = true),
      () => undefined,
    );
    for (let at = 0; at < 8; at += 1) appends.push(log.append([record(`m${at}`, Buffer.alloc(16_000_000))]));
    const outcomes = await Promise.allSettled(appends);
    const codes = outcomes.map((outcome) =>
      outcome.status === 'rejected' ? (outcome.reason as { code: string }).code : 'kept',
    );
    expect(codes).toContain('log_busy');
    expect(ready).toBe(false);
    await waiting;
    await log.close();
  });
});
