import { describe, expect, it } from 'vitest';
import { ManualClock } from './distributed/testing/manual_clock.ts';
import { WorkLoop } from './work_loop.ts';

const intervalMs = 1000;
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('WorkLoop', () => {
  it('works, pauses and works again, also after a failure', async () => {
    const clock = new ManualClock();
    const failures: unknown[] = [];
    let turns = 0;
    const loop = new WorkLoop({
      name: 'it',
      clock,
      turn: async () => {
        turns += 1;
        if (turns === 2) throw new Error('broken');
        return intervalMs;
      },
      failed: (error) => {
        failures.push(error);
        return 10 * intervalMs;
      },
    });
    loop.start();
    loop.start();
    await settled();
    expect(turns).toBe(1);
    await clock.advance(intervalMs);
    expect([turns, failures]).toEqual([2, [new Error('broken')]]);
    await clock.advance(9 * intervalMs);
    expect(turns).toBe(2);
    await clock.advance(intervalMs);
    expect(turns).toBe(3);
    await loop.close();
    await clock.advance(intervalMs);
    expect(turns).toBe(3);
  });

  it('is woken out of its pause, and out of the one to come', async () => {
    const clock = new ManualClock();
    let turns = 0;
    const loop = new WorkLoop({
      name: 'it',
      clock,
      turn: async () => {
        turns += 1;
        if (turns === 2) loop.wake();
        return intervalMs;
      },
      failed: () => intervalMs,
    });
    loop.start();
    await settled();
    loop.wake();
    await settled();
    expect(turns).toBe(3);
    await loop.close();
  });

  it('waits for the turn that is under way when it is closed, and reports nothing of how it ended', async () => {
    const { promise, resolve: begun } = Promise.withResolvers<undefined>();
    let ended = false;
    const loop = new WorkLoop({
      name: 'it',
      turn: async (signal) => {
        begun(undefined);
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
        await settled();
        ended = true;
        signal.throwIfAborted();
        return 0;
      },
      failed: () => expect.fail('the end is no failure'),
    });
    loop.start();
    await promise;
    await loop.close();
    expect(ended).toBe(true);
    expect(loop.signal.reason).toEqual(new Error('it is closed'));
  });
});
