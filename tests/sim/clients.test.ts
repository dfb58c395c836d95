import { expect, test } from 'vitest';
import { beginningOf, callsOfGroup, groupModel, storeModel } from './clients.ts';
import type { History } from './clients.ts';
import { checkLinearizable } from './linearizability.ts';

const put = (group: number, value: number, invoked: number, returned: number): History[number] => ({
  ...{ invoked, returned, output: true },
  input: { group, conditions: [], operations: [{ key: 0, value }] },
});
const scan = (values: readonly number[], invoked: number, returned: number): History[number] => ({
  ...{ invoked, returned, output: values },
  input: { group: 'all' },
});

test('two reads of everything must agree on the order of writes to different groups', () => {
  const writes = [put(0, 1, 0, 10), put(1, 2, 0, 10)];
  const [first, second, both] = [
    [1, 0, 0, 0],
    [0, 0, 2, 0],
    [1, 0, 2, 0],
  ] as const;
  const agreeing: History = [...writes, scan(first, 1, 2), scan(both, 3, 4)];
  const contradicting: History = [...writes, scan(first, 1, 8), scan(second, 1, 8)];
  expect(checkLinearizable(agreeing, storeModel(2))).toBe('linearizable');
  expect(checkLinearizable(contradicting, storeModel(2))).toBe('violation');
  for (const group of [0, 1]) {
    expect(checkLinearizable(callsOfGroup(contradicting, group), groupModel)).toBe('linearizable');
  }
});

test('a read of everything that misses an earlier write is a violation of its group', () => {
  const history: History = [put(1, 2, 0, 1), scan([0, 0, 0, 0], 2, 3)];
  expect(checkLinearizable(callsOfGroup(history, 1), groupModel)).toBe('violation');
  expect(checkLinearizable(callsOfGroup(history, 0), groupModel)).toBe('linearizable');
});

test('the beginning of a history leaves open what came back later', () => {
  const history: History = [put(0, 1, 0, 9), put(1, 2, 3, 4), scan([1, 0, 2, 0], 5, 6)];
  expect(beginningOf(history, 2)).toEqual([
    { ...history[0], returned: Infinity, output: undefined },
    history[1],
  ]);
  expect(beginningOf(history, 3)).toHaveLength(3);
});
