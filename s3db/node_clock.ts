import type { DriverClock } from './driver_ports.ts';

/** The clock and turns of this process. */
export const nodeClock: DriverClock = {
  monotonicMs: () => performance.now(),
  every: (intervalMs, tick) => {
    const timer = setInterval(tick, intervalMs);
    return () => clearInterval(timer);
  },
  soon: (run) => {
    setImmediate(run);
  },
  next: (run) => process.nextTick(run),
};
