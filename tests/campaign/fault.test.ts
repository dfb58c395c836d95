import { expect, test } from 'vitest';
import { chosen } from './fault.ts';

const faults = ['a slow disk', 'a full disk', 'a clock that steps'].map((name) => ({
  name,
  run: () => Promise.resolve(),
}));

function namesOf(only: string | undefined): string[] {
  return chosen(faults, only).map(({ name }) => name);
}

test('all faults by default, else those that are named', () => {
  expect(namesOf(undefined)).toEqual(['a slow disk', 'a full disk', 'a clock that steps']);
  expect(namesOf('a clock that steps, a slow disk')).toEqual(['a slow disk', 'a clock that steps']);
});

test('a name that no fault has is refused, with those that there are', () => {
  expect(() => namesOf('a slow disk,a fast disk')).toThrow(
    new RangeError("no fault is called 'a fast disk' here: a slow disk, a full disk, a clock that steps"),
  );
});
