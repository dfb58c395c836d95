import type { Call, Model } from './linearizability.ts';
import { KEYS_PER_GROUP, encodeCommand } from './machine.ts';
import type { Command, Result } from './machine.ts';
import type { Random } from './random.ts';
import type { Life } from './replica.ts';
import type { Settings } from './settings.ts';
import type { Timeline } from './timeline.ts';

/** A read of a group or of everything at one moment (`operations` undefined), or a conditional batch. */
type Input = { readonly group: number | 'all' } & Partial<
  Pick<Command, 'client' | 'request' | 'conditions' | 'operations'>
>;
/** Values of the keys, group after group, or whether the batch was carried out. */
type Output = readonly number[] | boolean;

export type History = Call<Input, Output>[];

/** What one group of keys may answer. */
export const groupModel: Model<readonly number[], Input, Output> = {
  initial: Array.from({ length: KEYS_PER_GROUP }, () => 0),
  step(state, { conditions = [], operations }, output) {
    if (operations === undefined) {
      return output === undefined || (output as readonly number[]).every((value, key) => value === state[key])
        ? state
        : undefined;
    }
    const holds = conditions.every(({ key, value }) => state[key] === value);
    if (output !== undefined && output !== holds) return undefined;
    if (!holds) return state;
    const next = [...state];
    for (const { key, value } of operations) next[key] = value;
    return next;
  },
  key: (state) => state.join(),
};

/** What all groups together may answer: for histories that are short, since everything in them is on one thread. */
export function storeModel(groups: number): Model<readonly number[], Input, Output> {
  return {
    initial: Array.from({ length: groups * KEYS_PER_GROUP }, () => 0),
    step(state, input, output) {
      if (input.group === 'all') return groupModel.step(state, input, output);
      const from = input.group * KEYS_PER_GROUP;
      const to = from + KEYS_PER_GROUP;
      const next = groupModel.step(state.slice(from, to), input, output);
      return next === undefined ? undefined : [...state.slice(0, from), ...next, ...state.slice(to)];
    },
    key: (state) => state.join(),
  };
}

/** The calls that say something of a group: its own, and its part of what reads everything. */
export function callsOfGroup(history: History, group: number): History {
  const from = group * KEYS_PER_GROUP;
  return history.flatMap((call) => {
    if (call.input.group === group) return [call];
    if (call.input.group !== 'all' || typeof call.output === 'boolean') return [];
    return [{ ...call, input: { group }, output: call.output?.slice(from, from + KEYS_PER_GROUP) }];
  });
}

/** The history as it was when `count` calls had been made: what came back later is still open. */
export function beginningOf(history: History, count: number): History {
  const byStart = history.toSorted((a, b) => a.invoked - b.invoked);
  const end = byStart[count]?.invoked ?? Infinity;
  return byStart
    .filter(({ invoked }) => invoked < end)
    .map((call) => (call.returned < end ? call : { ...call, returned: Infinity, output: undefined }));
}

/** Of all reads. */
const scans = 0.1;

interface ClientOptions {
  readonly id: number;
  readonly settings: Settings;
  readonly timeline: Timeline;
  readonly random: Random;
  readonly history: History;
  /** A live replica to talk to. */
  readonly anyReplica: () => Life | undefined;
  readonly leader: () => Life | undefined;
  /** No answer is lost any more. */
  readonly calm: () => boolean;
  /** A write was acknowledged, at this index. */
  readonly acknowledged: (index: number) => void;
  /** The highest index acknowledged to anyone. */
  readonly highestAcknowledged: () => number;
  readonly staleRead: (message: string) => void;
}

/** Sends one call at a time, to any replica it finds, again until the deadline; records what it saw. */
export class Client {
  readonly #options: ClientOptions;
  #request = 0;
  #nextValue: number;
  /** What it last saw of each group: conditions are drawn from it. */
  readonly #seen = new Map<number, readonly number[]>();
  #stopped = false;
  /** Records what is under way as a call whose outcome is not known. */
  #abandon: () => void = () => undefined;

  constructor(options: ClientOptions) {
    this.#options = options;
    this.#nextValue = options.id * 1_000_000 + 1;
  }

  start(): void {
    const { timeline, random, settings } = this.#options;
    timeline.after(random.around(settings.workload.thinkTime), () => {
      if (!this.#stopped) this.#call();
    });
  }

  /** Calls nothing more; what is under way stays open for ever. */
  stop(): void {
    this.#stopped = true;
    this.#abandon();
  }

  #call(): void {
    const { random, settings } = this.#options;
    const group = random.below(settings.workload.groups);
    if (random.chance(settings.workload.reads)) this.#read(random.chance(scans) ? 'all' : group);
    else this.#write(this.#drawCommand(group));
  }

  #drawCommand(group: number): Command {
    const { id, random, settings } = this.#options;
    const { conditional, valueBytes } = settings.workload;
    const seen = this.#seen.get(group) ?? groupModel.initial;
    const conditions = random.chance(conditional) ? [{ key: 0, value: seen[0] ?? 0 }] : [];
    const both = random.chance(0.3);
    const keys = both ? [0, 1] : [random.below(KEYS_PER_GROUP)];
    const operations = keys.map((key) => ({ key, value: random.chance(0.15) ? 0 : this.#nextValue++ }));
    const paddingBytes = valueBytes === 0 ? 0 : random.below(valueBytes);
    return { client: id, request: ++this.#request, group, conditions, operations, paddingBytes };
  }

  #write(command: Command): void {
    const { timeline, settings, history, acknowledged } = this.#options;
    const data = encodeCommand(command);
    const invoked = timeline.now;
    const deadline = invoked + settings.workload.deadline;
    /** Attempts that may have been appended somewhere. */
    let open = 0;
    let finished = false;
    const finish = (output: Output | undefined): void => {
      if (finished) return;
      finished = true;
      if (output !== undefined || open > 0) {
        history.push({
          invoked,
          returned: output === undefined ? Infinity : timeline.now,
          input: command,
          output,
        });
      }
      this.#abandon = () => undefined;
      if (!this.#stopped) this.start();
    };
    this.#abandon = () => finish(undefined);
    this.#attempts(deadline, {
      done: () => finished,
      giveUp: () => finish(undefined),
      attempt: (replica, answered) => {
        open++;
        replica.write(data, (answer) => {
          if (answer.kind === 'refused') {
            open--;
            answered(false);
          } else if (answer.kind === 'applied') {
            // A stale request was overtaken by a later one of this client, which begins only when this one is over.
            if (answer.result !== 'stale') this.#answer(() => settle(answer.result, answer.index));
          }
        });
      },
    });
    const settle = (result: Result, index: number): void => {
      if (finished) return;
      acknowledged(index);
      finish(result === 'done');
    };
  }

  #read(group: number | 'all'): void {
    const { timeline, settings, history, highestAcknowledged, staleRead } = this.#options;
    const invoked = timeline.now;
    const floor = highestAcknowledged();
    let finished = false;
    const finish = (output: Output | undefined): void => {
      if (finished) return;
      finished = true;
      if (output !== undefined) {
        if (group !== 'all') this.#seen.set(group, output as readonly number[]);
        history.push({ invoked, returned: timeline.now, input: { group }, output });
      }
      if (!this.#stopped) this.start();
    };
    this.#attempts(invoked + settings.workload.deadline, {
      done: () => finished,
      giveUp: () => finish(undefined),
      attempt: (replica, answered) => {
        replica.read((answer) => {
          if (answer.kind === 'refused') {
            answered(false);
            return;
          }
          const { machine } = answer;
          if (machine.index < floor) {
            staleRead(`a read at ${machine.index}, begun when ${floor} was acknowledged`);
          }
          const base = group === 'all' ? 0 : group * KEYS_PER_GROUP;
          const length = group === 'all' ? settings.workload.groups * KEYS_PER_GROUP : KEYS_PER_GROUP;
          const values = Array.from({ length }, (_, key) => machine.values.get(base + key) ?? 0);
          this.#answer(() => finish(values));
        });
      },
    });
  }

  /** An answer takes its time, and may be lost. */
  #answer(run: () => void): void {
    const { timeline, random, settings, calm } = this.#options;
    if (random.chance(settings.workload.answerLoss) && !calm()) return;
    timeline.after(random.around(0.5 * settings.network.delay), run);
  }

  #attempts(
    deadline: number,
    call: {
      done: () => boolean;
      giveUp: () => void;
      attempt: (replica: Life, answered: (ok: boolean) => void) => void;
    },
  ): void {
    const { timeline, random, settings } = this.#options;
    let number = 0;
    const next = (): void => {
      if (call.done() || this.#stopped) return;
      if (timeline.now >= deadline) {
        call.giveUp();
        return;
      }
      const mine = ++number;
      const again = (delay: number): void =>
        timeline.after(delay, () => {
          if (mine === number) next();
        });
      const replica = this.#target();
      if (replica === undefined) {
        again(2 * settings.tick);
        return;
      }
      call.attempt(replica, () => again(random.around(settings.tick)));
      again(settings.electionTicks * settings.tick);
    };
    timeline.after(random.around(0.5 * settings.network.delay), next);
    timeline.after(deadline - timeline.now, () => {
      if (!call.done() && !this.#stopped) call.giveUp();
    });
  }

  #target(): Life | undefined {
    const { random, leader, anyReplica } = this.#options;
    return random.chance(0.7) ? (leader() ?? anyReplica()) : anyReplica();
  }
}
