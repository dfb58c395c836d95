import { Lease } from '../lease.ts';
import type { EngineContext } from './context.ts';

/** The lease under which one gateway of all does a piece of the engine's work. */
export function engineLease(
  context: EngineContext,
  work: { readonly key: Uint8Array; readonly leaseMs: number },
): Lease {
  return new Lease({
    ...work,
    state: context.state,
    holder: 'gateway',
    logger: context.logger,
    randomBytes: (count) => context.randomBytes(count),
  });
}
