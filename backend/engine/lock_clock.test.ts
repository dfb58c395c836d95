import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { alice, anyone, put, refusal, region } from '../../tests/contract/requests.ts';
import { LockClock } from './lock_clock.ts';
import { openFixture, type Fixture } from './testing/fixture.ts';

describe('LockClock', () => {
  it('goes with the wall clock, never backwards, and not further than time has really passed', () => {
    let wallMs = 1000;
    let monotonicMs = 0;
    const clock = new LockClock({ wall: () => wallMs, monotonic: () => monotonicMs });
    const at = (wall: number, monotonic: number): number => {
      wallMs = wall;
      monotonicMs = monotonic;
      return clock.nowMs();
    };
    expect(at(1500, 500)).toBe(1500);
    expect(at(900_000, 600)).toBe(1600);
    expect(at(1200, 700)).toBe(1600);
    expect(at(1800, 1000)).toBe(1800);
  });
});

describe('a retention', () => {
  let wallMs = Date.UTC(2026, 0, 1);
  let monotonicMs = 0;
  let fixture: Fixture;
  beforeEach(async () => {
    fixture = await openFixture({ clock: () => wallMs, monotonicClock: () => monotonicMs });
  });
  afterEach(() => fixture.close());

  it('ends at its time, but not because a clock is set ahead', async () => {
    const { engine } = fixture;
    const where = { bucket: 'locked', key: 'k', authorize: anyone };
    const settings = new Map([
      ['versioning', 'Enabled'],
      ['object-lock', '{}'],
    ] as const);
    await engine.createBucket({ bucket: 'locked', owner: alice, region, settings });
    const lock = { retention: { mode: 'COMPLIANCE', untilMs: wallMs + 60_000 } } as const;
    const { versionId = '' } = await put(engine, where, 'x', { lock });
    wallMs += 3_600_000;
    await refusal(engine.deleteObject({ ...where, versionId }), 'AccessDenied');
    monotonicMs += 59_999;
    await refusal(engine.deleteObject({ ...where, versionId }), 'AccessDenied');
    monotonicMs += 1;
    await engine.deleteObject({ ...where, versionId });
  });
});
