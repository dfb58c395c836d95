import { invariant } from './invariant.ts';
import type { Configuration, ConfigurationChange, LogIndex, ReplicaId } from './types.ts';

export function isVoter(configuration: Configuration, id: ReplicaId): boolean {
  return configuration.voters.includes(id);
}

export function isMember(configuration: Configuration, id: ReplicaId): boolean {
  return configuration.voters.includes(id) || configuration.learners.includes(id);
}

/** A majority of the voters. */
export function quorumSize(configuration: Configuration): number {
  return Math.floor(configuration.voters.length / 2) + 1;
}

/** The largest value that a majority of the voters has reached; 0 when there are no voters. */
export function quorumValue(configuration: Configuration, valueOf: (voter: ReplicaId) => number): number {
  const { voters } = configuration;
  if (voters.length === 0) return 0;
  const values = voters.map(valueOf).sort((a, b) => b - a);
  return values[quorumSize(configuration) - 1] ?? 0;
}

/** Why a change makes no sense for a configuration; the rest of the refusals are the leader's to know. */
type MisfitChange = 'alreadyMember' | 'alreadyVoter' | 'notMember' | 'wasRemoved';

/**
 * The configuration after a change of one member. Any majority of the old one and any majority of the new one overlap,
 * since their voters differ by one at most (thesis 4.1).
 */
export function changed(
  configuration: Configuration,
  change: ConfigurationChange,
): Configuration | MisfitChange {
  const { voters, learners, removed } = configuration;
  const { id } = change;
  switch (change.type) {
    case 'addLearner':
      if (removed.includes(id)) return 'wasRemoved';
      if (isMember(configuration, id)) return 'alreadyMember';
      return { voters, learners: sorted([...learners, id]), removed };
    case 'promote':
      if (voters.includes(id)) return 'alreadyVoter';
      if (!learners.includes(id)) return 'notMember';
      return { voters: sorted([...voters, id]), learners: without(learners, id), removed };
    case 'remove':
      if (!isMember(configuration, id)) return 'notMember';
      return {
        voters: without(voters, id),
        learners: without(learners, id),
        removed: sorted([...removed, id]),
      };
  }
}

function sorted(ids: readonly ReplicaId[]): ReplicaId[] {
  return [...ids].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
}

function without(ids: readonly ReplicaId[], id: ReplicaId): ReplicaId[] {
  return ids.filter((other) => other !== id);
}

/**
 * The configurations of a log: the one at its base and each that was appended since. The newest one is in force, committed
 * or not, and truncation brings back the one before it (thesis 4.1).
 */
export class ConfigurationHistory {
  /** Never empty; ascending. The first is at or below the log's base. */
  #versions: { readonly index: LogIndex; readonly configuration: Configuration }[];

  constructor(index: LogIndex, configuration: Configuration) {
    this.#versions = [{ index, configuration }];
  }

  get current(): Configuration {
    return this.#newest().configuration;
  }

  /** Where the configuration in force was appended (or the base it came with). */
  get index(): LogIndex {
    return this.#newest().index;
  }

  /** The configuration in force when `index` was the end of the log. */
  at(index: LogIndex): Configuration {
    const version = this.#versions.findLast((candidate) => candidate.index <= index);
    invariant(version !== undefined, `configuration at ${index} was compacted`);
    return version.configuration;
  }

  append(index: LogIndex, configuration: Configuration): void {
    invariant(index > this.index, `configuration at ${index} is not behind the newest`);
    this.#versions.push({ index, configuration });
  }

  /** Forgets what was appended behind `last`. */
  truncate(last: LogIndex): void {
    while (this.#versions.length > 1 && this.index > last) this.#versions.pop();
  }

  /** Forgets what is superseded at `base`. */
  compact(base: LogIndex): void {
    const at = this.#versions.findLastIndex((version) => version.index <= base);
    if (at > 0) this.#versions.splice(0, at);
  }

  #newest(): { readonly index: LogIndex; readonly configuration: Configuration } {
    const newest = this.#versions.at(-1);
    invariant(newest !== undefined, 'a log has a configuration');
    return newest;
  }
}
