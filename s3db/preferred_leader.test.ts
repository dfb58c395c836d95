import { expect, test } from 'vitest';
import { PreferredLeader } from './preferred_leader.ts';
import type { ProgressStatus, Status } from './raft/types.ts';

function leader(progress: Partial<ProgressStatus> = {}, role: Status['role'] = 'leader'): Status {
  const other = {
    id: 2n,
    match: 5000,
    next: 5001,
    state: 'replicate',
    active: true,
    learner: false,
  } as const;
  return {
    id: 1n,
    role,
    term: 3,
    vote: 1n,
    leader: 1n,
    commit: 5000,
    applied: 5000,
    firstIndex: 1,
    lastIndex: 5000,
    durableIndex: 5000,
    transferee: 0n,
    configuration: { voters: [1n, 2n, 3n], learners: [], removed: [] },
    progress: [{ ...other, snapshotIndex: 0, live: true, inflightMessages: 0, ...progress }],
  };
}

const quick = { settleMs: 1000, pauseMs: 5000 };

test('hands over once the leader and the preferred one are settled', () => {
  const preferred = new PreferredLeader(quick);
  expect(preferred.choose(leader(), [2n], 0)).toBeUndefined();
  expect(preferred.choose(leader(), [2n], 900)).toBeUndefined();
  expect(preferred.choose(leader(), [2n], 1000)).toBe(2n);
});

test.each<Partial<ProgressStatus>>([
  { active: false },
  { learner: true },
  { state: 'probe' },
  { state: 'snapshot' },
  { match: 3000 },
])('does not hand over to one that is not fit: %o', (progress) => {
  const preferred = new PreferredLeader(quick);
  for (const nowMs of [0, 1000, 2000])
    expect(preferred.choose(leader(progress), [2n], nowMs)).toBeUndefined();
  // It must stay fit, not be so at one moment.
  expect(preferred.choose(leader(), [2n], 3000)).toBeUndefined();
  expect(preferred.choose(leader(), [2n], 4000)).toBe(2n);
});

test('does nothing where it does not lead, is preferred itself, or nobody is', () => {
  const preferred = new PreferredLeader(quick);
  for (const nowMs of [0, 5000]) {
    expect(preferred.choose(leader({}, 'follower'), [2n], nowMs)).toBeUndefined();
    expect(preferred.choose(leader(), [1n, 2n], nowMs)).toBeUndefined();
    expect(preferred.choose(leader(), [], nowMs)).toBeUndefined();
  }
});

test('a preferred one that loses leadership again and again gets it ever more rarely', () => {
  const preferred = new PreferredLeader(quick);
  const handedOverAtMs: number[] = [];
  for (let nowMs = 0; nowMs < 3_600_000; nowMs += 500) {
    if (preferred.choose(leader(), [2n], nowMs) === undefined) continue;
    handedOverAtMs.push(nowMs);
    // It leads for a moment and falls back.
    preferred.choose(leader({}, 'follower'), [2n], nowMs);
  }
  const gaps = handedOverAtMs.slice(1).map((at, i) => at - (handedOverAtMs[i] ?? 0));
  expect(gaps.slice(0, 6)).toEqual([5000, 10_000, 20_000, 40_000, 80_000, 100_000]);
  expect(handedOverAtMs.length).toBeLessThan(50);
});
