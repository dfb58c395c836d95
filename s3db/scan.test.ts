import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ScanPage, ScanRequest } from './database.ts';
import {
  encodeKey,
  openBytesLevel,
  sealValue,
  tablePrefix,
  ValueDamagedError,
  type BytesLevel,
} from './level_tables.ts';
import { scanLevel } from './scan.ts';

let directory: string;
let level: BytesLevel;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 's3db-scan-'));
  level = await openBytesLevel(directory);
});

afterEach(async () => {
  await level.close();
  await rm(directory, { recursive: true });
});

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'latin1'));
const text = (value: Uint8Array): string => Buffer.from(value).toString('latin1');

async function fill(keys: readonly string[], table = 'objects'): Promise<void> {
  await level.batch(
    keys.map((key) => {
      const levelKey = encodeKey(table, bytes(key));
      return { type: 'put' as const, key: levelKey, value: sealValue(levelKey, bytes(`value of ${key}`)) };
    }),
  );
}

function scan(request: {
  prefix?: string;
  startAfter?: string;
  delimiter?: string;
  limit?: number;
}): Promise<ScanPage> {
  const { prefix, startAfter, delimiter, limit } = request;
  const full: ScanRequest = {
    table: 'objects',
    prefix: bytes(prefix ?? ''),
    limit: limit ?? 1000,
    ...(startAfter === undefined ? {} : { startAfter: bytes(startAfter) }),
    ...(delimiter === undefined ? {} : { delimiter: bytes(delimiter) }),
  };
  return scanLevel(level, tablePrefix('objects'), full);
}

const keysOf = (page: ScanPage): string[] => page.items.map((item) => text(item.key));
const prefixesOf = (page: ScanPage): string[] => page.prefixes.map(text);

describe('scanLevel', () => {
  it('gives the rows of one table in byte order with their values', async () => {
    await fill(['b', 'a\xff', 'a', 'a\x00']);
    await fill(['outside'], 'object');
    await fill(['outside'], 'objects-2');
    const page = await scan({});
    expect(keysOf(page)).toEqual(['a', 'a\x00', 'a\xff', 'b']);
    expect(text(page.items[0]!.value)).toBe('value of a');
    expect(page.truncated).toBe(false);
    expect(page.next).toBeUndefined();
  });

  it('is truncated only when something follows', async () => {
    await fill(['a', 'b', 'c']);
    expect((await scan({ limit: 3 })).truncated).toBe(false);
    const page = await scan({ limit: 2 });
    expect(page.truncated).toBe(true);
    expect(text(page.next!)).toBe('b');
    expect(keysOf(await scan({ limit: 2, startAfter: 'b' }))).toEqual(['c']);
  });

  it('counts items and common prefixes together', async () => {
    await fill(['a', 'b/1', 'b/2', 'c', 'd/1']);
    const page = await scan({ delimiter: '/', limit: 2 });
    expect(keysOf(page)).toEqual(['a']);
    expect(prefixesOf(page)).toEqual(['b/']);
    expect(text(page.next!)).toBe('b/');
    const rest = await scan({ delimiter: '/', limit: 2, startAfter: 'b/' });
    expect(keysOf(rest)).toEqual(['c']);
    expect(prefixesOf(rest)).toEqual(['d/']);
    expect(rest.truncated).toBe(false);
  });

  it('skips all under a common prefix given as startAfter, but not under a key inside it', async () => {
    await fill(['a/', 'a/1', 'a/2', 'b']);
    expect(keysOf(await scan({ delimiter: '/', startAfter: 'a/' }))).toEqual(['b']);
    expect(prefixesOf(await scan({ delimiter: '/', startAfter: 'a/' }))).toEqual([]);
    expect(prefixesOf(await scan({ delimiter: '/', startAfter: 'a/1' }))).toEqual(['a/']);
    expect(keysOf(await scan({ startAfter: 'a/' }))).toEqual(['a/1', 'a/2', 'b']);
  });

  it('treats a startAfter before the prefix as none and behind it as the end', async () => {
    await fill(['a', 'p1', 'p2', 'z']);
    expect(keysOf(await scan({ prefix: 'p', startAfter: 'b' }))).toEqual(['p1', 'p2']);
    expect(keysOf(await scan({ prefix: 'p', startAfter: 'q' }))).toEqual([]);
  });

  it('rolls up at delimiters of several bytes and ends at 0xff prefixes', async () => {
    await fill(['x\xff\xffa', 'x\xff\xffb', 'y']);
    const page = await scan({ delimiter: '\xff\xff' });
    expect(prefixesOf(page)).toEqual(['x\xff\xff']);
    expect(keysOf(page)).toEqual(['y']);
  });

  describe('counting what is read', () => {
    let reads = 0;
    let rows = 0;
    beforeEach(() => {
      reads = rows = 0;
      const iterator = level.iterator.bind(level);
      level.iterator = ((options: Parameters<typeof iterator>[0]) => {
        const real = iterator(options);
        const nextv = real.nextv.bind(real);
        real.nextv = async (size: number) => {
          const read = await nextv(size);
          reads++;
          rows += read.length;
          return read;
        };
        return real;
      }) as BytesLevel['iterator'];
    });
    const numbered = (i: number): string => String(i).padStart(6, '0');

    it('reads a number of rows that follows the page, not what lies under a common prefix', async () => {
      await fill(Array.from({ length: 5000 }, (_, i) => `big/${numbered(i)}`));
      await fill(['a', 'zz']);
      const page = await scan({ delimiter: '/' });
      expect(keysOf(page)).toEqual(['a', 'zz']);
      expect(prefixesOf(page)).toEqual(['big/']);
      expect(rows).toBeLessThan(64);
      rows = 0;
      expect(keysOf(await scan({ delimiter: '/', startAfter: 'big/' }))).toEqual(['zz']);
      expect(rows).toBe(1);
    });

    it('reads little more than a row for each of many common prefixes with many rows', async () => {
      await fill(Array.from({ length: 6000 }, (_, i) => `${numbered(Math.floor(i / 20))}/${i % 20}`));
      expect(prefixesOf(await scan({ delimiter: '/', limit: 250 }))).toHaveLength(250);
      expect(rows).toBeLessThan(2 * 250);
    });

    it('reads several common prefixes at once where they are small', async () => {
      await fill(Array.from({ length: 300 }, (_, i) => `${numbered(i)}/only`));
      expect(prefixesOf(await scan({ delimiter: '/', limit: 250 }))).toHaveLength(250);
      expect(reads).toBeLessThan(50);
      // Also behind others that are large.
      await fill(Array.from({ length: 2000 }, (_, i) => `0 ${Math.floor(i / 200)}/${i % 200}`));
      reads = 0;
      expect(prefixesOf(await scan({ delimiter: '/', limit: 250 }))).toHaveLength(250);
      expect(reads).toBeLessThan(80);
    });
  });

  it('refuses a damaged row instead of returning it', async () => {
    await fill(['a']);
    const levelKey = encodeKey('objects', bytes('a'));
    const stored = await level.get(levelKey);
    stored[stored.length - 1]! ^= 1;
    await level.put(levelKey, stored);
    await expect(scan({})).rejects.toThrow(ValueDamagedError);
  });

  it('refuses a row stored under another key', async () => {
    const other = encodeKey('objects', bytes('other'));
    await level.put(encodeKey('objects', bytes('a')), sealValue(other, bytes('v')));
    await expect(scan({})).rejects.toThrow(ValueDamagedError);
  });

  it('refuses limits outside 1 to 10,000', async () => {
    await expect(scan({ limit: 0 })).rejects.toThrow('limit');
    await expect(scan({ limit: 10_001 })).rejects.toThrow('limit');
  });

  it('agrees with a plain model, page by page', async () => {
    const key = fc.string({ unit: fc.constantFrom('a', 'b', '/', '\x00', '\xff'), maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(key, { maxLength: 40 }),
        fc.record({
          prefix: fc.string({ unit: fc.constantFrom('a', 'b', '/', '\xff'), maxLength: 2 }),
          delimiter: fc.constantFrom(undefined, '/', 'ab', '\xff'),
          limit: fc.integer({ min: 1, max: 7 }),
        }),
        async (keys, { prefix, delimiter, limit }) => {
          await level.clear();
          await fill(keys);
          const seen: string[] = [];
          let startAfter: string | undefined;
          for (let pages = 0; pages <= keys.length; pages++) {
            const page = await scan({
              prefix,
              limit,
              ...(delimiter === undefined ? {} : { delimiter }),
              ...(startAfter === undefined ? {} : { startAfter }),
            });
            expect(page.items.length + page.prefixes.length).toBeLessThanOrEqual(limit);
            seen.push(...[...keysOf(page), ...prefixesOf(page).map((p) => `${p}*`)]);
            if (!page.truncated) break;
            startAfter = text(page.next!);
          }
          const expected = new Set<string>();
          for (const k of keys.filter((candidate) => candidate.startsWith(prefix))) {
            const at = delimiter === undefined ? -1 : k.indexOf(delimiter, prefix.length);
            expected.add(at < 0 ? k : `${k.slice(0, at + (delimiter ?? '').length)}*`);
          }
          expect(seen.toSorted()).toEqual([...expected].toSorted());
        },
      ),
      { numRuns: 150 },
    );
  });
});
