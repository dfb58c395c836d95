import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Log } from './log.ts';
import { createIdentity, decodeLogIdFile, decodeSegmentHeader, encodeLogIdFile } from './format.ts';
import { scanSegment, type ScannedItem } from './segment_scanner.ts';
import { decodeClose, decodeEntry, encodeClose, encodeEntry, type LiveEntry } from './shard_format.ts';
import { Random, SimulatedDisk } from './testing/simulated_disk.ts';

const ID = Buffer.from('000102030405060708090a0b0c0d0e0f', 'hex');

async function filled(texts: readonly string[]): Promise<SimulatedDisk> {
  const disk = new SimulatedDisk(new Random(1));
  const log = await Log.open({ directory: '/log', fileSystem: disk, reserveBytes: 0, randomBytes: () => ID });
  for (const text of texts)
    await log.append([{ type: 7, key: Buffer.from('key'), payload: Buffer.from(text) }]);
  await log.close();
  return disk;
}

async function scan(
  disk: SimulatedDisk,
  chunkBytes: number,
): Promise<{ kind: string; from: number; lengthBytes: number }[]> {
  const file = await disk.open('/log/0000000001.seg', 'read');
  const found: { kind: string; from: number; lengthBytes: number }[] = [];
  const source = {
    file,
    identity: createIdentity(ID),
    segment: 1,
    from: 64,
    to: await file.size(),
    chunkBytes,
  };
  for await (const items of scanSegment(source)) found.push(...items.map(summary));
  return found;
}

function summary(item: ScannedItem): { kind: string; from: number; lengthBytes: number } {
  return item.kind === 'record'
    ? { kind: item.payload.toString('latin1'), from: item.header.offset, lengthBytes: item.lengthBytes }
    : { kind: item.reason, from: item.from, lengthBytes: item.to - item.from };
}

describe('the bytes of FORMAT.md', () => {
  it('are what they were', async () => {
    const disk = await filled(['payload']);
    expect(disk.contents('/log/log.id').toString()).toBe(
      's3d-log 1 000102030405060708090a0b0c0d0e0f 34db7600\n',
    );
    const bytes = disk.contents('/log/0000000001.seg');
    expect(bytes.subarray(0, 64).toString('hex')).toBe(
      '7333642d77616c0a' +
        '01000000' +
        '01000000' +
        '0100000000000000' +
        ID.toString('hex') +
        '00'.repeat(20) +
        'f857d93a',
    );
    // A record, then the anchor of the clean close, which names the end of the record as durable.
    expect(bytes.subarray(64, 64 + 58).toString('hex')).toBe(
      [
        '53334452' + '00010203' + '07030100' + '07000000' + '156a2c42' + '0100000000000000',
        '01000000' + '40000000' + '01000000' + '40000000' + '273f5829' + '6b6579' + '7061796c6f6164',
      ].join(''),
    );
    expect(bytes.subarray(122).toString('hex')).toBe(
      [
        '53334452' + '00010203' + '00000100' + '01000000' + '1bdf05a5' + '0200000000000000',
        '01000000' + '7a000000' + '01000000' + '7a000000' + 'e75e7dce' + '01',
      ].join(''),
    );
  });

  it('refuses a log.id or a segment header with any bit changed', () => {
    const idFile = encodeLogIdFile(ID);
    for (let bit = 0; bit < idFile.length * 8; bit += 1) {
      const changed = Buffer.from(idFile);
      changed.writeUInt8(changed.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      expect(decodeLogIdFile(changed)).toBeUndefined();
    }
    expect(decodeLogIdFile(idFile)).toEqual(ID);
    expect(decodeSegmentHeader(Buffer.alloc(64))).toBeUndefined();
  });

  it('accept no record with any bit changed', async () => {
    const disk = await filled(['payload', 'next']);
    const whole = await scan(disk, 1000);
    const { from, lengthBytes } = whole[0]!;
    for (let bit = 0; bit < lengthBytes * 8; bit += 1) {
      const at = { offset: from + (bit >> 3), bit: bit & 7 };
      disk.flipBit('/log/0000000001.seg', at);
      const [damage, ...rest] = await scan(disk, 1000);
      expect(damage).toMatchObject({ from, lengthBytes });
      expect(damage!.kind).not.toBe('payload');
      expect(rest).toEqual(whole.slice(1));
      disk.flipBit('/log/0000000001.seg', at);
    }
  });

  it('are read the same in chunks of any size, damaged or not', async () => {
    for (let seed = 1; seed <= 40; seed += 1) {
      const random = new Random(seed);
      const disk = await filled(Array.from({ length: 12 }, (_, at) => `${at},`.repeat(random.below(400))));
      const size = disk.contents('/log/0000000001.seg').length;
      for (let flips = random.below(4); flips > 0; flips -= 1) {
        disk.flipBit('/log/0000000001.seg', { offset: 64 + random.below(size - 64), bit: random.below(8) });
      }
      const whole = await scan(disk, size);
      // Nothing is left out between the items, whatever is wrong.
      let at = 64;
      for (const { from, lengthBytes } of whole) {
        expect(from).toBe(at);
        at += lengthBytes;
      }
      expect(at).toBe(size);
      for (const chunkBytes of [64, 100, 1000, 4096]) expect(await scan(disk, chunkBytes)).toEqual(whole);
    }
  });
});

describe('the records of SHARDS.md', () => {
  const place = fc.record({
    segment: fc.integer({ min: 1, max: 5 }),
    offset: fc.integer({ min: 64, max: 2 ** 31 }),
  });
  const live: fc.Arbitrary<LiveEntry> = fc
    .record({
      blocks: fc.array(place, { maxLength: 40 }),
      blockSizeBytes: fc.integer({ min: 1, max: 2 ** 24 }),
      ids: fc.tuple(fc.integer({ min: 1 }), fc.integer({ min: 1 }), fc.integer({ min: 0 })),
      epoch: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      checksum: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
      position: place,
      ghosts: fc.array(fc.integer({ min: 1, max: 2 ** 32 - 1 }), { maxLength: 4 }),
    })
    .map(({ blocks, blockSizeBytes, ids: [putId, order, revision], epoch, checksum, position, ghosts }) => ({
      kind: 'live',
      ...{ putId, order, revision, epoch, checksum, blockSizeBytes, blocks, ghosts },
      sizeBytes: blocks.length === 0 ? 0 : (blocks.length - 1) * blockSizeBytes + 1,
      position: { ...position, lengthBytes: 100 },
    }));

  it('come back as they were written', () => {
    fc.assert(
      fc.property(live, (entry) => {
        expect(decodeEntry(encodeEntry(entry))).toEqual(entry);
      }),
    );
  });

  it('are refused when they are cut short', () => {
    fc.assert(
      fc.property(live, fc.nat(), (entry, cut) => {
        const payload = encodeClose(entry, false);
        const key = Buffer.alloc(41);
        expect(
          decodeClose({ key, payload: payload.subarray(0, cut % payload.length) }, entry.position),
        ).toBeUndefined();
      }),
    );
  });
});
