/** Milliseconds, from and to: each time anew something between them. */
export type Range = readonly [fromMs: number, toMs: number];

/** @param float somewhere from 0 to 1 */
export function within([fromMs, toMs]: Range, float: number): number {
  return fromMs + float * (toMs - fromMs);
}
