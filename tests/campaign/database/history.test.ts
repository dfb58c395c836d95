import { describe, expect, test } from 'vitest';
import { History, keysPerGroup, type Input, type Output } from './history.ts';

const put = (key: number, value: number): Input => ({
  kind: 'batch',
  conditions: [],
  operations: [{ key, value }],
});
const putIf = (equals: number, value: number): Input => ({
  kind: 'batch',
  conditions: [{ key: 0, equals }],
  operations: [{ key: 0, value }],
});
const get = (key: number): Input => ({ kind: 'get', key });
const scan = (key: number, limit = keysPerGroup): Input => ({ kind: 'scan', key, limit });

type Step = readonly [input: Input, output: Output | undefined];

/** One call after the other. */
function historyOf(steps: readonly Step[]): History {
  const history = new History();
  for (const [i, [input, output]] of steps.entries()) {
    const call = history.begin('g', 2 * i, input);
    if (output !== undefined) history.settle(call, 2 * i + 1, output);
  }
  return history;
}

describe('one call after the other', () => {
  test.each<[string, Step[]]>([
    [
      'a get sees the put',
      [
        [put(1, 7), -1],
        [get(1), 7],
        [get(0), 0],
      ],
    ],
    [
      'a deleted key is gone',
      [
        [put(1, 7), -1],
        [put(1, 0), -1],
        [get(1), 0],
      ],
    ],
    [
      'a scan is in order and bounded',
      [
        [put(2, 7), -1],
        [put(0, 8), -1],
        [scan(0), [0, 8, 2, 7]],
        [scan(0, 1), [0, 8]],
        [scan(1), [2, 7]],
      ],
    ],
    [
      'a condition names the first that fails',
      [
        [putIf(5, 6), 0],
        [get(0), 0],
      ],
    ],
    [
      'what is unknown may have happened',
      [
        [put(0, 7), undefined],
        [get(0), 7],
      ],
    ],
    [
      'or not, or later',
      [
        [put(0, 7), undefined],
        [get(0), 0],
        [get(0), 7],
      ],
    ],
  ])('%s', (_name, steps) => {
    expect(historyOf(steps).check()).toEqual({ linearizable: 1, undecided: [], violations: [] });
  });

  test.each<[string, Step[]]>([
    [
      'a lost write',
      [
        [put(1, 7), -1],
        [get(1), 0],
      ],
    ],
    [
      'a write that was undone',
      [
        [put(1, 7), undefined],
        [get(1), 7],
        [get(1), 0],
      ],
    ],
    [
      'a scan that misses a key',
      [
        [put(0, 7), -1],
        [put(1, 8), -1],
        [scan(0), [1, 8]],
      ],
    ],
    [
      'a value that nobody wrote',
      [
        [put(0, 7), -1],
        [get(0), 8],
      ],
    ],
    [
      'two winners of one condition',
      [
        [put(0, 1), -1],
        [putIf(1, 2), -1],
        [putIf(1, 3), -1],
      ],
    ],
    [
      'half of a batch',
      [
        [
          {
            kind: 'batch',
            conditions: [],
            operations: [
              { key: 0, value: 1 },
              { key: 1, value: 2 },
            ],
          },
          undefined,
        ],
        [scan(0), [0, 1]],
      ],
    ],
  ])('%s is a violation', (_name, steps) => {
    expect(historyOf(steps).check().violations).toHaveLength(1);
  });
});

test('a call that was dropped has no effect', () => {
  const history = historyOf([]);
  const refused = history.begin('g', 0, put(0, 7));
  const read = history.begin('g', 2, get(0));
  history.settle(read, 3, 7);
  expect(history.check().violations).toEqual([]);
  history.drop('g', refused);
  expect(history.check().violations).toHaveLength(1);
});

test('a stale read may be old but not of the future', () => {
  const history = historyOf([
    [put(0, 7), -1],
    [put(0, 8), -1],
  ]);
  history.addStale({ group: 'g', returned: 9, values: [7] });
  history.addStale({ group: 'g', returned: 9, values: [0] });
  expect(history.checkStale()).toEqual([]);
  history.addStale({ group: 'g', returned: 1, values: [8] });
  history.addStale({ group: 'g', returned: 9, values: [3] });
  expect(history.checkStale()).toHaveLength(2);
});
