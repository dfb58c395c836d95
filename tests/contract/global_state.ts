import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { GlobalState } from '../../backend/global_state.ts';
import type { Batch, Condition, Operation, ScanPage, ScanRequest } from '../../s3db/database.ts';
import { ConditionFailedError, InvalidRequestError } from '../../s3db/errors.ts';

interface OpenedState {
  readonly state: GlobalState;
  readonly close: () => Promise<void>;
}

type Rows = Map<string, Uint8Array>;

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));
const textOf = (key: Uint8Array): string => Buffer.from(key).toString('latin1');
const valuesOf = (page: ScanPage): string[][] =>
  page.items.map(({ key, value }) => [textOf(key), textOf(value)]);

/** What every GlobalState promises. The tables it is given are empty, or nobody else writes under `contract/`. */
export function globalStateContract(name: string, open: () => Promise<OpenedState>): void {
  describe(`${name} as a GlobalState`, () => {
    let opened: OpenedState | undefined;
    let tests = 0;
    beforeAll(async () => {
      opened = await open();
    }, 60_000);
    afterAll(async () => {
      await opened?.close();
    }, 60_000);
    const state = (): GlobalState => {
      if (opened === undefined) throw new Error('the state did not open');
      return opened.state;
    };
    /** Keys under a prefix that no other test uses. */
    const corner = (): ((text: string) => Uint8Array) => {
      const prefix = `contract/${++tests}/`;
      return (text) => bytes(prefix + text);
    };

    it('gives back what was set, and forgets what was deleted', async () => {
      const key = corner()('k');
      expect(await state().get('objects', key)).toBeUndefined();
      expect(await state().exists('objects', key)).toBe(false);
      const value = Uint8Array.from({ length: 256 }, (_, i) => i);
      await state().set('objects', key, value);
      expect(Buffer.compare((await state().get('objects', key)) ?? bytes(''), value)).toBe(0);
      expect(await state().exists('objects', key)).toBe(true);
      await state().set('objects', key, bytes(''));
      expect((await state().get('objects', key))?.length).toBe(0);
      await state().delete('objects', key);
      await state().delete('objects', key);
      expect(await state().get('objects', key)).toBeUndefined();
    });

    it('keeps tables apart', async () => {
      const key = corner()('k');
      const tables = ['buckets', 'objects', 'versions', 'multipart', 'parts', 'state'] as const;
      for (const table of tables) await state().set(table, key, bytes(table));
      for (const table of tables) expect(textOf((await state().get(table, key))!)).toBe(table);
      await state().delete('objects', key);
      expect(await state().exists('objects', key)).toBe(false);
      expect(await state().exists('versions', key)).toBe(true);
    });

    it('does not hold on to the arrays that it is given or gives', async () => {
      const key = corner()('k');
      const value = bytes('before');
      const written = state().set('objects', key, value);
      await written;
      value.fill(0);
      const read = (await state().get('objects', key))!;
      expect(textOf(read)).toBe('before');
      read.fill(0);
      expect(textOf((await state().get('objects', key))!)).toBe('before');
    });

    it('applies a batch whole or not at all, and names the condition that fails', async () => {
      const at = corner();
      await state().set('objects', at('here'), bytes('1'));
      const operations: Operation[] = [
        { type: 'put', table: 'objects', key: at('new'), value: bytes('2') },
        { type: 'delete', table: 'objects', key: at('here') },
      ];
      const good: Condition[] = [
        { table: 'objects', key: at('here'), exists: true },
        { table: 'objects', key: at('here'), equals: bytes('1') },
        { table: 'objects', key: at('absent'), exists: false },
        { table: 'objects', prefix: at('nothing/'), empty: true },
      ];
      const bad: Condition[] = [
        { table: 'objects', key: at('here'), exists: false },
        { table: 'objects', key: at('here'), equals: bytes('2') },
        { table: 'objects', key: at('absent'), equals: bytes('') },
        { table: 'objects', key: at('absent'), exists: true },
        { table: 'objects', prefix: at('he'), empty: true },
      ];
      for (const condition of bad) {
        for (let position = 0; position <= good.length; position++) {
          const error: unknown = await state()
            .batch({ conditions: good.toSpliced(position, 0, condition), operations })
            .then(
              () => 'applied',
              (reason: unknown) => reason,
            );
          expect(error).toBeInstanceOf(ConditionFailedError);
          expect((error as ConditionFailedError).condition).toBe(position);
        }
      }
      expect(await state().exists('objects', at('new'))).toBe(false);
      await state().batch({ conditions: good, operations });
      expect(await state().exists('objects', at('new'))).toBe(true);
      expect(await state().exists('objects', at('here'))).toBe(false);
    });

    it('lets one of many racing batches win', async () => {
      const at = corner();
      const outcomes = await Promise.allSettled(
        Array.from({ length: 20 }, (_, i) =>
          state().batch({
            conditions: [{ table: 'state', key: at('k'), exists: false }],
            operations: [
              { type: 'put', table: 'state', key: at('k'), value: bytes(String(i)) },
              { type: 'put', table: 'state', key: at(`of-${i}`), value: bytes('') },
            ],
          }),
        ),
      );
      const winners = outcomes.flatMap(({ status }, i) => (status === 'fulfilled' ? [i] : []));
      expect(winners).toHaveLength(1);
      expect(textOf((await state().get('state', at('k')))!)).toBe(String(winners[0]));
      const left = await state().scan({ table: 'state', prefix: at('of-'), limit: 100 });
      expect(left.items).toHaveLength(1);
    });

    it('counts without losing one, by compare and set', async () => {
      const key = corner()('count');
      await state().set('state', key, bytes('0'));
      const add = async (): Promise<void> => {
        for (;;) {
          const before = (await state().get('state', key))!;
          const value = bytes(String(Number(textOf(before)) + 1));
          try {
            await state().batch({
              conditions: [{ table: 'state', key, equals: before }],
              operations: [{ type: 'put', table: 'state', key, value }],
            });
            return;
          } catch (error) {
            if (!(error instanceof ConditionFailedError)) throw error;
          }
        }
      };
      await Promise.all(Array.from({ length: 12 }, add));
      expect(textOf((await state().get('state', key))!)).toBe('12');
    });

    it('shows in every read what a finished write did', async () => {
      const at = corner();
      for (let i = 0; i < 30; i++) {
        await state().set('objects', at(`k${i}`), bytes(String(i)));
        const [row, page] = await Promise.all([
          state().get('objects', at(`k${i}`)),
          state().scan({ table: 'objects', prefix: at('k'), limit: 1000 }),
        ]);
        expect(textOf(row!)).toBe(String(i));
        expect(page.items).toHaveLength(i + 1);
      }
    });

    it(
      'takes a batch of 10,000 conditions, and refuses one beyond the limits',
      { timeout: 60_000 },
      async () => {
        const at = corner();
        const keys = Array.from({ length: 10_000 }, (_, i) => at(`p${i}`));
        for (let from = 0; from < keys.length; from += 2500) {
          await state().batch({
            conditions: [],
            operations: keys
              .slice(from, from + 2500)
              .map((key) => ({ type: 'put', table: 'parts', key, value: new Uint8Array(120) })),
          });
        }
        const operations: Operation[] = [{ type: 'put', table: 'parts', key: at('all'), value: bytes('1') }];
        await state().batch({
          conditions: keys.map((key) => ({ table: 'parts', key, equals: new Uint8Array(120) })),
          operations,
        });
        expect(await state().exists('parts', at('all'))).toBe(true);
        const tooMany: Batch = {
          conditions: Array.from({ length: 20_000 }, () => ({
            table: 'parts',
            key: at('all'),
            exists: true,
          })),
          operations,
        };
        await expect(state().batch(tooMany)).rejects.toBeInstanceOf(InvalidRequestError);
        const tooBig: Operation = {
          type: 'put',
          table: 'parts',
          key: at('all'),
          value: new Uint8Array(9_000_000),
        };
        await expect(state().batch({ conditions: [], operations: [tooBig] })).rejects.toBeInstanceOf(
          InvalidRequestError,
        );
        expect(textOf((await state().get('parts', at('all')))!)).toBe('1');
      },
    );

    it('lists keys of more than a page', async () => {
      const at = corner();
      const names = Array.from({ length: 2500 }, (_, i) => String(i).padStart(5, '0'));
      await state().batch({
        conditions: [],
        operations: names.map((key) => ({
          type: 'put',
          table: 'versions',
          key: at(`l/${key}`),
          value: bytes(''),
        })),
      });
      const seen: string[] = [];
      for await (const key of state().listKeys('versions', at('l/'))) seen.push(textOf(key).slice(-5));
      expect(seen).toEqual(names);
    });

    it('scans as a plain model does', async () => {
      const part = fc.string({ unit: fc.constantFrom('a', 'b', '/', '\u0000', '\u00ff'), maxLength: 4 });
      await fc.assert(
        fc.asyncProperty(
          fc.uniqueArray(part, { maxLength: 10 }),
          part,
          fc.option(part, { nil: undefined }),
          fc.option(fc.constantFrom('/', 'a', '/a', '\u00ff'), { nil: undefined }),
          fc.integer({ min: 1, max: 4 }),
          async (names, prefix, startAfter, delimiter, limit) => {
            const at = latinCorner(corner());
            const rows: Rows = new Map(names.map((key) => [textOf(at(key)), bytes(key)]));
            await state().batch({
              conditions: [],
              operations: names.map((key) => ({
                type: 'put',
                table: 'objects',
                key: at(key),
                value: bytes(key),
              })),
            });
            const request: ScanRequest & { table: 'objects' } = {
              table: 'objects',
              prefix: at(prefix),
              limit,
              ...(startAfter === undefined ? {} : { startAfter: at(startAfter) }),
              ...(delimiter === undefined ? {} : { delimiter: Buffer.from(delimiter, 'latin1') }),
            };
            const page = await state().scan(request);
            const expected = modelScan(rows, request);
            expect(valuesOf(page)).toEqual(expected.items);
            expect(page.prefixes.map(textOf)).toEqual(expected.prefixes);
            expect(page.truncated).toBe(expected.next !== undefined);
            expect(page.next === undefined ? undefined : textOf(page.next)).toBe(expected.next);
          },
        ),
        { numRuns: 100 },
      );
    });
  });
}

function latinCorner(at: (text: string) => Uint8Array): (text: string) => Uint8Array {
  const prefix = at('');
  return (text) => new Uint8Array(Buffer.concat([prefix, Buffer.from(text, 'latin1')]));
}

function modelScan(
  rows: Rows,
  request: ScanRequest,
): { items: string[][]; prefixes: string[]; next: string | undefined } {
  const prefix = textOf(request.prefix);
  const delimiter = request.delimiter === undefined ? undefined : textOf(request.delimiter);
  const startAfter = request.startAfter === undefined ? undefined : textOf(request.startAfter);
  const page: { items: string[][]; prefixes: string[] } = { items: [], prefixes: [] };
  let last: string | undefined;
  // Latin-1 text sorts as its bytes do.
  for (const key of [...rows.keys()].sort()) {
    if (!key.startsWith(prefix)) continue;
    const found = delimiter === undefined ? -1 : key.indexOf(delimiter, prefix.length);
    const common = found < 0 || delimiter === undefined ? undefined : key.slice(0, found + delimiter.length);
    if (startAfter !== undefined && (key <= startAfter || common === startAfter)) continue;
    if (common !== undefined && page.prefixes.includes(common)) continue;
    if (page.items.length + page.prefixes.length === request.limit) return { ...page, next: last };
    if (common === undefined) page.items.push([key, textOf(rows.get(key)!)]);
    else page.prefixes.push(common);
    last = common ?? key;
  }
  return { ...page, next: undefined };
}
