/** A start that can't go on because of what the operator gave: one line says what is wrong and what would be right. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** Exit codes, after sysexits.h where one fits. */
export const exitCodes = {
  ok: 0,
  /** Something failed while running: a disk, a port, a peer that must be there. */
  failure: 1,
  /** Wrong flags or arguments. */
  usage: 64,
  /** Wrong configuration. */
  config: 78,
} as const;
