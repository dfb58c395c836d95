import { checkLinearizable, type Call, type Model } from '../../sim/linearizability.ts';

/** Keys of one group; a batch or a scan touches keys of one group, so that each group has a history of its own. */
export const keysPerGroup = 4;

/** Values are whole numbers, each written once; 0 stands for a key that is not there. */
export type GroupState = readonly number[];

export interface ReadInput {
  readonly kind: 'get' | 'scan';
  /** Of a get: which key. Of a scan: the first key it may return. */
  readonly key: number;
  /** Of a scan: how many keys it asked for. */
  readonly limit?: number;
}

export type KeyCondition =
  | { readonly key: number; readonly equals: number }
  | { readonly key: number; readonly exists: boolean }
  | { readonly empty: true };

export interface WriteInput {
  readonly kind: 'batch';
  readonly conditions: readonly KeyCondition[];
  /** 0 deletes. */
  readonly operations: readonly { readonly key: number; readonly value: number }[];
}

export type Input = ReadInput | WriteInput;

/** Of a get: the value. Of a scan: key and value in turn. Of a batch: the condition that failed, or -1. */
export type Output = number | readonly number[];

const groupModel: Model<GroupState, Input, Output> = {
  initial: Array.from({ length: keysPerGroup }, () => 0),
  step(state, input, output) {
    switch (input.kind) {
      case 'get':
        return output === undefined || output === state[input.key] ? state : undefined;
      case 'scan':
        return output === undefined || sameNumbers(output, scanOf(state, input)) ? state : undefined;
      case 'batch': {
        const failed = input.conditions.findIndex((condition) => !holds(state, condition));
        if (output !== undefined && output !== failed) return undefined;
        if (failed >= 0) return state;
        const next = [...state];
        for (const { key, value } of input.operations) next[key] = value;
        return next;
      }
    }
  },
  key: (state) => state.join(),
};

function holds(state: GroupState, condition: KeyCondition): boolean {
  if ('empty' in condition) return state.every((value) => value === 0);
  if ('exists' in condition) return (state[condition.key] !== 0) === condition.exists;
  // An absent value equals nothing.
  return condition.equals !== 0 && state[condition.key] === condition.equals;
}

function scanOf(state: GroupState, input: ReadInput): number[] {
  const found = [];
  for (let key = input.key; key < state.length && found.length < 2 * (input.limit ?? keysPerGroup); key++) {
    const value = state[key] ?? 0;
    if (value !== 0) found.push(key, value);
  }
  return found;
}

function sameNumbers(a: Output, b: readonly number[]): boolean {
  return typeof a !== 'number' && a.length === b.length && a.every((value, i) => value === b[i]);
}

/** A read that asked for no more than what some replica held. */
export interface StaleRead {
  readonly group: string;
  readonly returned: number;
  readonly values: readonly number[];
}

export interface Verdict {
  readonly linearizable: number;
  readonly undecided: readonly string[];
  readonly violations: readonly string[];
}

/** A call as it stands. */
export interface Recorded extends Call<Input, Output> {
  returned: number;
  output: Output | undefined;
}

/** Everything that the clients of a run saw, by group. Times in milliseconds since the run began. */
export class History {
  readonly #groups = new Map<string, Recorded[]>();
  readonly #stale: StaleRead[] = [];
  #calls = 0;
  #open = 0;

  get calls(): number {
    return this.#calls;
  }

  /** Calls whose outcome never became known. */
  get open(): number {
    return this.#open;
  }

  get groups(): readonly string[] {
    return [...this.#groups.keys()];
  }

  /** A call begins. Until it is settled its outcome counts as unknown, so that a history can be checked at any time. */
  begin(group: string, invoked: number, input: Input): Recorded {
    const call: Recorded = { invoked, returned: Infinity, input, output: undefined };
    const calls = this.#groups.get(group);
    if (calls === undefined) this.#groups.set(group, [call]);
    else calls.push(call);
    this.#calls++;
    this.#open++;
    return call;
  }

  settle(call: Recorded, returned: number, output: Output): void {
    call.returned = returned;
    call.output = output;
    this.#open--;
  }

  /** It did nothing and said nothing: a read without an answer, a write that was refused. */
  drop(group: string, call: Recorded): void {
    const calls = this.#groups.get(group);
    calls?.splice(calls.lastIndexOf(call), 1);
    this.#calls--;
    this.#open--;
  }

  addStale(read: StaleRead): void {
    this.#stale.push(read);
  }

  /** @param maxSteps for each group, before it counts as undecided. */
  check(groups: Iterable<string> = this.#groups.keys(), maxSteps = 3_000_000): Verdict {
    const undecided: string[] = [];
    const violations: string[] = [];
    let linearizable = 0;
    for (const group of groups) {
      const answer = checkLinearizable(this.#groups.get(group) ?? [], groupModel, maxSteps);
      if (answer === 'violation') violations.push(`group ${group} is not linearizable`);
      else if (answer === 'undecided') undecided.push(group);
      else linearizable++;
    }
    return { linearizable, undecided, violations };
  }

  /** Stale reads may be old, but what they return must have been written, and not after they returned. */
  checkStale(): string[] {
    const written = new Map<number, number>();
    for (const calls of this.#groups.values()) {
      for (const { input, invoked } of calls) {
        if (input.kind === 'batch')
          for (const { value } of input.operations)
            written.set(value, Math.min(invoked, written.get(value) ?? Infinity));
      }
    }
    return this.#stale
      .filter(({ values, returned }) =>
        values.some((value) => value !== 0 && (written.get(value) ?? Infinity) > returned),
      )
      .map(
        ({ group, values }) => `a stale read of ${group} returned ${values.join()}, which nobody had written`,
      );
  }
}
