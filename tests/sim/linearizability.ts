/** One call of a client. `returned` is Infinity when its outcome never became known: it may have happened at any time since, or not at all. */
export interface Call<Input, Output> {
  readonly invoked: number;
  readonly returned: number;
  readonly input: Input;
  /** Undefined when the outcome is not known. */
  readonly output: Output | undefined;
}

export interface Model<State, Input, Output> {
  readonly initial: State;
  /** The state after `input`, or undefined if it can't have answered `output` (any answer will do when that is undefined). */
  step(state: State, input: Input, output: Output | undefined): State | undefined;
  /** Equal states have equal keys. */
  key(state: State): string;
}

interface Event<Input, Output> {
  readonly call: Call<Input, Output>;
  readonly id: number;
  readonly kind: 'call' | 'return';
  match: Event<Input, Output> | undefined;
  previous: Event<Input, Output> | undefined;
  next: Event<Input, Output> | undefined;
}

/**
 * Whether some order of the calls, in which no call comes before one that had returned before it was invoked, explains
 * all answers. The algorithm of Wing and Gong with Lowe's memory of (calls placed, state) ("Testing for linearizability", 2017).
 *
 * @returns `undecided` when it takes more than `maxSteps` steps.
 */
export function checkLinearizable<State, Input, Output>(
  calls: readonly Call<Input, Output>[],
  model: Model<State, Input, Output>,
  maxSteps = 1_000_000,
): 'linearizable' | 'violation' | 'undecided' {
  const head = link(calls);
  const placed = new Uint32Array(Math.ceil(calls.length / 32) || 1);
  const seen = new Set<string>();
  const stack: { event: Event<Input, Output>; state: State }[] = [];
  let state = model.initial;
  let answered = calls.filter((call) => call.returned !== Infinity).length;
  let event = head.next;
  for (let steps = 0; answered > 0; steps++) {
    if (steps > maxSteps) return 'undecided';
    if (event?.kind === 'call') {
      const next = model.step(state, event.call.input, event.call.output);
      if (next !== undefined) {
        placed[event.id >> 5]! ^= 1 << (event.id & 31);
        const key = `${placed.join()}|${model.key(next)}`;
        if (!seen.has(key)) {
          seen.add(key);
          stack.push({ event, state });
          state = next;
          if (event.call.returned !== Infinity) answered--;
          unlink(event);
          event = head.next;
          continue;
        }
        placed[event.id >> 5]! ^= 1 << (event.id & 31);
      }
      event = event.next;
    } else {
      // A return whose call is not placed (or the end): what was placed last must go elsewhere.
      const top = stack.pop();
      if (top === undefined) return 'violation';
      state = top.state;
      placed[top.event.id >> 5]! ^= 1 << (top.event.id & 31);
      if (top.event.call.returned !== Infinity) answered++;
      relink(top.event);
      event = top.event.next;
    }
  }
  return 'linearizable';
}

function link<Input, Output>(calls: readonly Call<Input, Output>[]): Event<Input, Output> {
  const blank = { match: undefined, previous: undefined, next: undefined };
  const events: Event<Input, Output>[] = [];
  for (const [id, call] of calls.entries()) {
    const invocation: Event<Input, Output> = { call, id, kind: 'call', ...blank };
    events.push(invocation);
    if (call.returned === Infinity) continue;
    const answer: Event<Input, Output> = { call, id, kind: 'return', ...blank };
    invocation.match = answer;
    events.push(answer);
  }
  const time = ({ kind, call }: Event<Input, Output>) => (kind === 'call' ? call.invoked : call.returned);
  // At the same time calls come first: then they count as concurrent.
  events.sort((a, b) => time(a) - time(b) || (a.kind === b.kind ? a.id - b.id : a.kind === 'call' ? -1 : 1));
  const head = { ...blank, kind: 'call', id: -1 } as unknown as Event<Input, Output>;
  let last = head;
  for (const event of events) {
    last.next = event;
    event.previous = last;
    last = event;
  }
  return head;
}

function unlink<Input, Output>(event: Event<Input, Output>): void {
  for (const each of [event, event.match]) {
    if (each === undefined) continue;
    if (each.previous !== undefined) each.previous.next = each.next;
    if (each.next !== undefined) each.next.previous = each.previous;
  }
}

function relink<Input, Output>(event: Event<Input, Output>): void {
  for (const each of [event.match, event]) {
    if (each === undefined) continue;
    if (each.previous !== undefined) each.previous.next = each;
    if (each.next !== undefined) each.next.previous = each;
  }
}
