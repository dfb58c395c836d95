import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { applyBatches, checkConditions } from './batch_round.ts';
import type { Batch, Condition, Operation } from './database.ts';
import { InvalidRequestError } from './errors.ts';
import { getRow, maxBatchItems, maxKeyBytes, openBytesLevel, type BytesLevel } from './level_tables.ts';

let directory: string;
let level: BytesLevel;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 's3db-round-'));
  level = await openBytesLevel(directory);
});

afterEach(async () => {
  await level.close();
  await rm(directory, { recursive: true });
});

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'latin1'));
const put = (key: string, value: string): Operation => ({
  type: 'put',
  table: 't',
  key: bytes(key),
  value: bytes(value),
});
const remove = (key: string): Operation => ({ type: 'delete', table: 't', key: bytes(key) });
const exists = (key: string, yes: boolean): Condition => ({ table: 't', key: bytes(key), exists: yes });
const equals = (key: string, value: string): Condition => ({
  table: 't',
  key: bytes(key),
  equals: bytes(value),
});
const empty = (prefix: string): Condition => ({ table: 't', prefix: bytes(prefix), empty: true });
const batch = (conditions: Condition[], ...operations: Operation[]): Batch => ({ conditions, operations });

async function value(key: string): Promise<string | undefined> {
  const row = await getRow(level, 't', bytes(key));
  return row === undefined ? undefined : Buffer.from(row).toString('latin1');
}

describe('applyBatches', () => {
  it('applies all operations of a batch whose conditions hold', async () => {
    await applyBatches(level, [batch([], put('a', '1'), put('b', '2'))]);
    expect(
      await applyBatches(level, [batch([equals('a', '1'), exists('c', false)], put('c', '3'), remove('b'))]),
    ).toEqual([undefined]);
    expect([await value('a'), await value('b'), await value('c')]).toEqual(['1', undefined, '3']);
  });

  it('applies nothing of a batch with a condition that fails, and names the first', async () => {
    const answers = await applyBatches(level, [
      batch([exists('x', false), exists('x', true), equals('x', '')], put('a', '1')),
    ]);
    expect(answers[0]?.condition).toBe(1);
    expect(await value('a')).toBeUndefined();
  });

  it('tells an absent row from an empty one', async () => {
    await applyBatches(level, [batch([], put('e', ''))]);
    expect(await checkConditions(level, [exists('e', true), equals('e', '')])).toBeUndefined();
    expect(await checkConditions(level, [equals('absent', '')])).toBe(0);
  });

  it('lets a later batch of the same round see the earlier ones', async () => {
    await applyBatches(level, [batch([], put('gone', '1'))]);
    const answers = await applyBatches(level, [
      batch([exists('a', false)], put('a', '1')),
      batch([exists('a', false)], put('a', '2')),
      batch([equals('a', '1')], put('a', '3'), remove('gone')),
      batch([exists('gone', true)], put('a', '4')),
    ]);
    expect(answers.map((answer) => answer?.condition)).toEqual([undefined, 0, undefined, 0]);
    expect(await value('a')).toBe('3');
  });

  it('keeps the effects of a refused batch out of the round', async () => {
    const answers = await applyBatches(level, [
      batch([exists('no', true)], put('a', '1')),
      batch([exists('a', true)], put('b', '1')),
    ]);
    expect(answers.map((answer) => answer?.condition)).toEqual([0, 0]);
  });

  it('judges an empty prefix by the rows and by the round', async () => {
    await applyBatches(level, [
      batch([], ...Array.from({ length: 40 }, (_, i) => put(`p/${i}`, 'v')), put('q', '1')),
    ]);
    const answers = await applyBatches(level, [
      batch([empty('p/')], put('no', '1')),
      batch([], ...Array.from({ length: 40 }, (_, i) => remove(`p/${i}`))),
      batch([empty('p/')], put('yes', '1')),
      batch([], put('p/new', '1')),
      batch([empty('p/')], put('no', '1')),
      batch([empty('p/newer'), empty('p/ne\xff')], put('also', '1')),
    ]);
    expect(answers.map((answer) => answer?.condition)).toEqual([
      0,
      undefined,
      undefined,
      undefined,
      0,
      undefined,
    ]);
    expect([await value('no'), await value('yes'), await value('also')]).toEqual([undefined, '1', '1']);
  });

  it('lets the last operation on a key win', async () => {
    await applyBatches(level, [
      batch([], put('a', '1'), remove('a'), put('a', '2'), put('b', '1'), remove('b')),
    ]);
    expect([await value('a'), await value('b')]).toEqual(['2', undefined]);
  });

  it('keeps tables apart', async () => {
    await applyBatches(level, [batch([], put('a', '1'))]);
    expect(await getRow(level, 'ta', bytes(''))).toBeUndefined();
    expect(await checkConditions(level, [{ table: 'u', prefix: bytes(''), empty: true }])).toBeUndefined();
  });

  it('refuses wrong tables, long keys and batches over the limits before anything is applied', async () => {
    const wrong: Batch[] = [
      batch([], { type: 'delete', table: '', key: bytes('') }),
      batch([], { type: 'delete', table: 'A', key: bytes('') }),
      batch([], { type: 'delete', table: 'a\0b', key: bytes('') }),
      batch([exists('k'.repeat(maxKeyBytes + 1), true)]),
      batch([], ...Array.from({ length: maxBatchItems + 1 }, (_, i) => remove(String(i)))),
      batch([], { type: 'put', table: 't', key: bytes('k'), value: new Uint8Array(8 * 1024 * 1024) }),
    ];
    for (const refused of wrong) {
      await expect(applyBatches(level, [batch([], put('a', '1')), refused])).rejects.toThrow(
        InvalidRequestError,
      );
    }
    expect(await value('a')).toBeUndefined();
  });
});
