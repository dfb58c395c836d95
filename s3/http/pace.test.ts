import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { PacedWait } from './pace.ts';

describe('PacedWait', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it('gives up after the idle time, and not before', async () => {
    const peer = new PacedWait({ idleMs: 100, minBytesPerSecond: 1, graceMs: 1e9 });
    for (let times = 0; times < 5; times++) {
      const waiting = peer.wait();
      await vi.advanceTimersByTimeAsync(99);
      peer.wake();
      expect(await waiting).toBe(true);
    }
    const last = peer.wait();
    let result: boolean | undefined;
    void last.then((woken) => (result = woken));
    await vi.advanceTimersByTimeAsync(99);
    expect(result).toBe(undefined);
    await vi.advanceTimersByTimeAsync(2);
    expect(result).toBe(false);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('counts only the time that was waited, and lets bytes buy more of it', async () => {
    const peer = new PacedWait({ idleMs: 1000, minBytesPerSecond: 1000, graceMs: 100 });
    await vi.advanceTimersByTimeAsync(10_000);
    let waiting = peer.wait();
    await vi.advanceTimersByTimeAsync(90);
    peer.wake();
    expect(await waiting).toBe(true);
    peer.progress(500);
    waiting = peer.wait();
    await vi.advanceTimersByTimeAsync(500);
    peer.wake();
    expect(await waiting).toBe(true);
    waiting = peer.wait();
    await vi.advanceTimersByTimeAsync(11);
    expect(await waiting).toBe(false);
    expect(await peer.wait()).toBe(false);
  });

  it('leaves no timer behind', async () => {
    const peer = new PacedWait({ idleMs: 1000, minBytesPerSecond: 1, graceMs: 1e9 });
    const waiting = peer.wait();
    peer.wake();
    await waiting;
    peer.release();
    expect(vi.getTimerCount()).toBe(0);
  });
});
