/**
 * How long this process stood still, judged by a timer that should have fired after `periodMs` and did after
 * `elapsedMs`. A peer that couldn't be heard in that time isn't silent.
 */
export function pausedMs(elapsedMs: number, periodMs: number): number {
  return elapsedMs > 2 * periodMs ? elapsedMs - periodMs : 0;
}
