import type { Condition, Operation } from '../../s3db/database.ts';
import { ConditionFailedError, InvalidRequestError, UnavailableError } from '../../s3db/errors.ts';
import { BackendError } from '../errors.ts';
import type { EngineContext } from './context.ts';
import type { ChangeRows, ObjectChange } from './object_changes.ts';

const maxAttempts = 16;
const firstPauseMs = 2;
const longestPauseMs = 250;

/** What a mutation wants done, all or nothing, and what it answers then. */
export interface Proposal<Result> {
  readonly conditions: readonly Condition[];
  readonly operations: readonly Operation[];
  /**
   * Conditions of the data store. They go last; when one of them fails, reading again doesn't help: the content
   * that was written can no longer be named.
   */
  readonly contentConditions?: readonly Condition[];
  /** What the operations do to objects: observers add their rows to the batch, or refuse it. */
  readonly changes?: readonly ObjectChange[];
  readonly result: Result;
}

/** The batch was sent and nobody knows whether it applied: nothing that it names may be removed. */
export class CommitUnknownError extends BackendError {
  constructor() {
    super('ServiceUnavailable', 'The outcome of the request is not known. Look before you try again.');
  }
}

/**
 * Reads, proposes and commits, again from the start when another writer was faster. `attempt` reads what it builds
 * on (and authorizes and checks preconditions) each time; a proposal without operations is answered as it is.
 * @throws CommitUnknownError; any other error means that nothing was applied.
 */
export async function commit<Result>(
  context: EngineContext,
  attempt: (round: number) => Promise<Proposal<Result>>,
): Promise<Result> {
  for (let round = 0; round < maxAttempts; round++) {
    const proposal = await attempt(round);
    if (proposal.operations.length === 0) return proposal.result;
    const outcome = await send(context, proposal, await observed(context, proposal.changes));
    if (outcome === 'applied') return proposal.result;
    if (outcome === 'content refused') {
      throw new BackendError(
        'ServiceUnavailable',
        'The upload took longer than its lease. Please try again.',
      );
    }
    await context.sleep(pauseMs(context, round));
  }
  throw new BackendError('SlowDown', 'Too many writers change this at the same time. Please try again.');
}

async function observed(
  context: EngineContext,
  changes: readonly ObjectChange[] = [],
): Promise<Required<ChangeRows>> {
  const operations: Operation[] = [];
  const conditions: Condition[] = [];
  for (const change of changes) {
    for (const observe of context.observers) {
      const rows = await observe(change);
      operations.push(...rows.operations);
      conditions.push(...(rows.conditions ?? []));
    }
  }
  return { operations, conditions };
}

async function send(
  context: EngineContext,
  proposal: Proposal<unknown>,
  more: Required<ChangeRows>,
): Promise<'applied' | 'overtaken' | 'content refused'> {
  const expected = [...proposal.conditions, ...more.conditions];
  try {
    await context.state.batch({
      conditions: [...expected, ...(proposal.contentConditions ?? [])],
      operations: [...proposal.operations, ...more.operations],
    });
    return 'applied';
  } catch (error) {
    if (error instanceof ConditionFailedError) {
      return error.condition < expected.length ? 'overtaken' : 'content refused';
    }
    if (error instanceof UnavailableError || error instanceof InvalidRequestError) throw error;
    // What isn't known to have failed before it was applied counts as unknown.
    context.logger.error({ err: error }, 'the outcome of a metadata batch is unknown');
    throw new CommitUnknownError();
  }
}

/** Full jitter: anything up to a limit that doubles. */
function pauseMs(context: EngineContext, round: number): number {
  const limitMs = Math.min(firstPauseMs * 2 ** round, longestPauseMs);
  const [random = 0] = context.randomBytes(1);
  return Math.ceil((limitMs * (random + 1)) / 256);
}
