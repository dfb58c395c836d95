import type { EngineLogger } from '../../backend/engine/context.ts';

/** Says nothing. */
export const quietLogger: EngineLogger = {
  debug: nothing,
  info: nothing,
  warn: nothing,
  error: nothing,
};

function nothing(): void {
  // Tests look at answers, not at logs.
}
