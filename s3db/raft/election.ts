import { quorumSize } from './configuration.ts';
import type { SafetyRules } from './rules.ts';
import type { Configuration, ReplicaId } from './types.ts';

/** The votes of one election or pre-election. Each voter's first answer counts. */
export class Ballot {
  readonly #rules: SafetyRules;
  readonly #answers = new Map<ReplicaId, boolean>();

  constructor(rules: SafetyRules) {
    this.#rules = rules;
  }

  record(from: ReplicaId, granted: boolean): void {
    if (!this.#answers.has(from)) this.#answers.set(from, granted);
  }

  /** By the configuration in force now: it may have changed since the election began. */
  outcome(configuration: Configuration): 'won' | 'lost' | 'open' {
    let granted = 0;
    let refused = 0;
    for (const [from, answer] of this.#answers) {
      if (!this.#rules.countsVoteOf(configuration, from)) continue;
      if (answer) granted++;
      else refused++;
    }
    const quorum = quorumSize(configuration);
    if (granted >= quorum) return 'won';
    return refused > configuration.voters.length - quorum ? 'lost' : 'open';
  }
}

/** Counts ticks since the last contact with a leader (or the last vote, or the last attempt), against a timeout drawn anew each time. */
export class ElectionTimer {
  readonly #minimumTicks: number;
  readonly #random: () => number;
  #elapsed = 0;
  #timeout = 0;

  constructor(options: { electionTicks: number; random: () => number }) {
    this.#minimumTicks = options.electionTicks;
    this.#random = options.random;
    this.restart();
  }

  get elapsedTicks(): number {
    return this.#elapsed;
  }

  /** Paper 5.2: randomised so that split votes are rare. */
  restart(): void {
    this.#elapsed = 0;
    this.#timeout = this.#minimumTicks + Math.floor(this.#random() * this.#minimumTicks);
  }

  /** @returns whether the timeout has passed. */
  tick(): boolean {
    this.#elapsed++;
    return this.#elapsed >= this.#timeout;
  }
}
