import { ConditionFailedError } from '../../s3db/errors.ts';
import type { Clock } from '../clock.ts';
import type { GlobalState } from '../global_state.ts';
import { decodeMembers, encodeMembers, membersKey, type MemberSet } from './members.ts';
import type { Logger } from './ports.ts';

interface MemberRegistryOptions {
  readonly state: GlobalState;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Written when there is no row yet, and gone by while none can be read. */
  readonly seeds: MemberSet;
  /** Called with each set that is newer than the one before. */
  readonly onChange?: (set: MemberSet) => void;
  /** How often the row is looked at (default 2 s). */
  readonly pollMs?: number;
}

const defaultPollMs = 2000;
const readMs = 5000;
const maxAttempts = 8;

/**
 * The members as this process knows them: follows the row that all processes share. What is known here may be older
 * than the row by as long as a look takes; whoever acts on it for good (see `Epochs`) says which version that was.
 */
export class MemberRegistry {
  readonly #options: MemberRegistryOptions;
  #current: MemberSet;
  #stopTimer: (() => void) | undefined;
  #looking: Promise<void> = Promise.resolve();
  #closed = false;

  private constructor(options: MemberRegistryOptions) {
    this.#options = options;
    this.#current = { ...options.seeds, version: 0 };
  }

  /**
   * Reads the row, writing it first where there is none. While the database doesn't answer it goes by the seeds, and
   * goes on looking.
   */
  static async open(options: MemberRegistryOptions): Promise<MemberRegistry> {
    const registry = new MemberRegistry(options);
    options.onChange?.(registry.#current);
    await registry.#look();
    registry.#schedule();
    return registry;
  }

  get current(): MemberSet {
    return this.#current;
  }

  /** Reads the row now. @throws UnavailableError */
  async refresh(): Promise<MemberSet> {
    const { state } = this.#options;
    const row = await state.get('state', membersKey, { deadlineMs: readMs });
    if (row === undefined) return this.#seed();
    this.#take(decodeMembers(row));
    return this.#current;
  }

  /**
   * Applies a change to the newest set; again when another was faster. Not when it gives back the set as it is.
   * @throws what `change` throws: then nothing was changed. UnavailableError, UnknownOutcomeError
   */
  async change(change: (set: MemberSet) => MemberSet): Promise<MemberSet> {
    const { state } = this.#options;
    for (let attempt = 0; attempt < maxAttempts; attempt += 1) {
      const before = await state.get('state', membersKey);
      const current = before === undefined ? await this.#seed() : decodeMembers(before);
      const next = change(current);
      if (next === current) {
        this.#take(current);
        return current;
      }
      const value = encodeMembers(next);
      try {
        await state.batch({
          conditions: [{ table: 'state', key: membersKey, equals: before ?? encodeMembers(current) }],
          operations: [{ type: 'put', table: 'state', key: membersKey, value }],
        });
      } catch (error) {
        if (error instanceof ConditionFailedError) continue;
        throw error;
      }
      this.#take(next);
      return next;
    }
    throw new Error(`the members were changed by others ${maxAttempts} times in a row; try again`);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#stopTimer?.();
    await this.#looking;
  }

  #schedule(): void {
    if (this.#closed) return;
    this.#stopTimer = this.#options.clock.after(this.#options.pollMs ?? defaultPollMs, () => {
      this.#looking = this.#look().then(() => {
        this.#schedule();
      });
    });
  }

  async #look(): Promise<void> {
    try {
      await this.refresh();
    } catch (error) {
      this.#options.logger.info({ err: error }, 'the members could not be read; the last ones known stay');
    }
  }

  async #seed(): Promise<MemberSet> {
    const { state, seeds } = this.#options;
    try {
      await state.batch({
        conditions: [{ table: 'state', key: membersKey, exists: false }],
        operations: [{ type: 'put', table: 'state', key: membersKey, value: encodeMembers(seeds) }],
      });
      this.#take(seeds);
      return seeds;
    } catch (error) {
      if (!(error instanceof ConditionFailedError)) throw error;
      const row = await state.get('state', membersKey);
      if (row === undefined) throw new Error('the row of the members was removed', { cause: error });
      const found = decodeMembers(row);
      this.#take(found);
      return found;
    }
  }

  #take(set: MemberSet): void {
    if (set.version <= this.#current.version) return;
    this.#current = set;
    this.#options.onChange?.(set);
  }
}
