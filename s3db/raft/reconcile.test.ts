import { expect, test } from 'vitest';
import { InvariantError } from './invariant.ts';
import { reconcileLog } from './reconcile.ts';
import { entriesOf, voters } from './testing/replica.ts';

const configuration = voters(1n, 2n, 3n);
const log = { snapshot: { index: 3, term: 1, configuration }, entries: entriesOf([2, 2, 4], 4) };
const state = (index: number, term: number) => ({ index, term, configuration: voters(9n) });

test.each([
  ['at the base', 3, 1],
  ['within the log', 5, 2],
  ['at its end', 6, 4],
])('a state %s leaves the log as it is', (_name, index, term) => {
  expect(reconcileLog(log, state(index, term))).toEqual({ ...log, changed: false });
});

test.each([
  ['ahead of the log', 9, 4],
  ['of another term than the log has there', 5, 3],
])('a state %s makes the log start anew behind it', (_name, index, term) => {
  expect(reconcileLog(log, state(index, term))).toEqual({
    snapshot: state(index, term),
    entries: [],
    changed: true,
  });
});

test('a state behind the log stops the replica', () => {
  expect(() => reconcileLog(log, state(2, 1))).toThrow(InvariantError);
});
