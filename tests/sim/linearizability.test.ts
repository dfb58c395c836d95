import { describe, expect, test } from 'vitest';
import { checkLinearizable } from './linearizability.ts';
import type { Call, Model } from './linearizability.ts';

type Input = { put: number } | 'get' | { if: number; put: number };
type Output = number | boolean | 'done';

/** A register: 0 at first. */
const register: Model<number, Input, Output> = {
  initial: 0,
  step(state, input, output) {
    if (input === 'get') return output === undefined || output === state ? state : undefined;
    if ('if' in input) {
      const holds = state === input.if;
      if (output !== undefined && output !== holds) return undefined;
      return holds ? input.put : state;
    }
    return input.put;
  },
  key: String,
};

const call = (invoked: number, returned: number, input: Input, output?: Output): Call<Input, Output> => ({
  ...{ invoked, returned, input },
  output: output,
});
const never = Infinity;

describe('known good', () => {
  test.each<[string, Call<Input, Output>[]]>([
    ['nothing', []],
    ['one after the other', [call(0, 1, { put: 1 }, 'done'), call(2, 3, 'get', 1)]],
    ['a read beside a write sees the old value', [call(0, 5, { put: 1 }, 'done'), call(1, 2, 'get', 0)]],
    ['a read beside a write sees the new value', [call(0, 5, { put: 1 }, 'done'), call(1, 2, 'get', 1)]],
    [
      'an unknown write that happened late',
      [call(0, never, { put: 1 }), call(5, 6, 'get', 0), call(7, 8, 'get', 1)],
    ],
    ['an unknown write that never happened', [call(0, never, { put: 1 }), call(5, 6, 'get', 0)]],
    [
      'concurrent writes in the order that the reads ask for',
      [
        call(0, 9, { put: 1 }, 'done'),
        call(0, 9, { put: 2 }, 'done'),
        call(1, 3, 'get', 2),
        call(4, 6, 'get', 1),
      ],
    ],
    [
      'one of two conditional writes wins',
      [call(0, 5, { if: 0, put: 1 }, true), call(0, 5, { if: 0, put: 2 }, false), call(6, 7, 'get', 1)],
    ],
    ['at one and the same time counts as concurrent', [call(0, 1, { put: 1 }, 'done'), call(1, 2, 'get', 0)]],
  ])('%s', (_name, calls) => {
    expect(checkLinearizable(calls, register)).toBe('linearizable');
  });
});

describe('known bad', () => {
  test.each<[string, Call<Input, Output>[]]>([
    ['a stale read', [call(0, 1, { put: 1 }, 'done'), call(2, 3, 'get', 0)]],
    ['a value from nowhere', [call(0, 1, 'get', 7)]],
    ['a lost write', [call(0, 1, { put: 1 }, 'done'), call(2, 3, { put: 2 }, 'done'), call(4, 5, 'get', 1)]],
    ['reads that go back', [call(0, 9, { put: 1 }, 'done'), call(1, 2, 'get', 1), call(3, 4, 'get', 0)]],
    [
      'two conditional writes that both won',
      [call(0, 5, { if: 0, put: 1 }, true), call(0, 5, { if: 0, put: 2 }, true)],
    ],
    ['an unknown write seen before it was invoked', [call(5, never, { put: 1 }), call(0, 1, 'get', 1)]],
    [
      'an unknown write that happened and un-happened',
      [call(0, never, { put: 1 }), call(1, 2, 'get', 1), call(3, 4, 'get', 0)],
    ],
    [
      'a write applied twice',
      [
        call(0, 1, { put: 1 }, 'done'),
        call(2, 3, { put: 2 }, 'done'),
        call(4, 5, 'get', 2),
        call(6, 7, 'get', 1),
      ],
    ],
  ])('%s', (_name, calls) => {
    expect(checkLinearizable(calls, register)).toBe('violation');
  });
});

test('gives up when it takes too long, and says so', () => {
  const calls = Array.from({ length: 12 }, (_, i) => call(0, 100, { put: i + 1 }, 'done'));
  expect(checkLinearizable([...calls, call(101, 102, 'get', 99)], register, 500)).toBe('undecided');
});
