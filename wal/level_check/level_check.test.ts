import { createHash } from 'node:crypto';
import { cp, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openBytesLevel } from '../../s3db/level_tables.ts';
import { LevelDamagedError } from './damage.ts';
import { checkLevel } from './level_check.ts';

let directory: string;
let whole: string;
/** Of the rows after each round, in order: what a prefix of the writes may look like. */
const prefixes: string[] = [];

const rounds = 40;
const key = (round: number, i: number): Uint8Array => new Uint8Array(Buffer.from(`t\0${i}-of-${round % 7}`));

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 's3db-level-check-'));
  whole = join(directory, 'whole');
  let level = await openBytesLevel(whole);
  for (let round = 0; round < rounds; round++) {
    const rows = Array.from({ length: 50 }, (_, i) => ({
      type: 'put' as const,
      key: key(round, i),
      value: new Uint8Array(Buffer.from(`${round} ${'some text that compresses '.repeat(20)} ${i * round}`)),
    }));
    await level.batch(rows, { sync: true });
    prefixes.push(await digestOf(level));
    if (round !== 10 && round !== 30) continue;
    // Opening puts what the log holds into a table; the rounds after that stay in the log.
    await level.close();
    level = await openBytesLevel(whole);
  }
  await level.close();
});

afterAll(async () => {
  await rm(directory, { recursive: true });
});

async function digestOf(level: Awaited<ReturnType<typeof openBytesLevel>>): Promise<string> {
  const sum = createHash('sha256');
  for await (const [k, v] of level.iterator()) sum.update(k).update(v);
  return sum.digest('hex');
}

async function copy(name: string): Promise<string> {
  const path = join(directory, name);
  await cp(whole, path, { recursive: true });
  return path;
}

async function fileOf(path: string, pattern: RegExp): Promise<string> {
  const name = (await readdir(path)).find((one) => pattern.test(one));
  if (name === undefined) throw new Error(`no file like ${String(pattern)}`);
  return join(path, name);
}

describe('checkLevel', () => {
  test('finds nothing wrong with a Level, or where none is', async () => {
    await checkLevel(whole);
    await checkLevel(join(directory, 'nowhere'));
    await fileOf(whole, /\.ldb$/);
    await fileOf(whole, /\.log$/);
  });

  test.each([/\.ldb$/, /^MANIFEST/, /^CURRENT$/])('notices that %s is gone', async (pattern) => {
    const path = await copy(`gone-${pattern.source.replaceAll(/\W/g, '')}`);
    await rm(await fileOf(path, pattern));
    await expect(checkLevel(path)).rejects.toThrow(LevelDamagedError);
  });

  test('takes the torn end of the newest log for what a crash leaves', async () => {
    const path = await copy('torn');
    const log = await fileOf(path, /\.log$/);
    await truncate(log, (await stat(log)).size - 10);
    await checkLevel(path);
    const level = await openBytesLevel(path);
    expect(await digestOf(level)).toBe(prefixes.at(-2));
    await level.close();
  });

  test('notices a table that ends early', async () => {
    const path = await copy('short');
    const table = await fileOf(path, /\.ldb$/);
    await truncate(table, (await stat(table)).size - 1);
    await expect(checkLevel(path)).rejects.toThrow('bytes, the MANIFEST says');
  });

  /** The promise itself: what passes the check holds exactly what was written up to some round. */
  test('lets no flipped bit pass that changes what the Level holds', { timeout: 120_000 }, async () => {
    const path = await copy('flipped');
    let noticed = 0;
    let random = 12_345;
    const draw = (below: number): number => {
      random = (random * 1_103_515_245 + 12_345) % 2 ** 31;
      return Math.floor((random / 2 ** 31) * below);
    };
    const names = (await readdir(whole)).filter((name) => /\.ldb$|\.log$|^MANIFEST|^CURRENT$/.test(name));
    for (const name of names) {
      const bytes = await readFile(join(whole, name));
      const places = new Set<number>();
      // The ends have what is most delicate: headers, footers, the last record.
      for (let i = 0; i < 60 && i < bytes.length; i++) places.add(i).add(bytes.length - 1 - i);
      for (let i = 0; i < 60; i++) places.add(draw(bytes.length));
      for (const at of places) {
        const flipped = Buffer.from(bytes);
        flipped[at] = (flipped[at] ?? 0) ^ (1 << draw(8));
        await rm(path, { recursive: true });
        await cp(whole, path, { recursive: true });
        await writeFile(join(path, name), flipped);
        try {
          await checkLevel(path);
        } catch (error) {
          expect(error).toBeInstanceOf(LevelDamagedError);
          noticed++;
          continue;
        }
        const level = await openBytesLevel(path);
        const digest = await digestOf(level);
        await level.close();
        expect(prefixes, `${name}, byte ${at}`).toContain(digest);
      }
    }
    expect(noticed).toBeGreaterThan(300);
  });
});
