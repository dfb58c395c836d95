interface Scheduled {
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
}

/** Simulated time, in microseconds: a heap of what is to happen. Things at the same time happen in the order in which they were scheduled. */
export class Timeline {
  now = 0;
  #order = 0;
  readonly #heap: Scheduled[] = [];

  after(delay: number, run: () => void): void {
    const item = { at: this.now + Math.max(0, Math.round(delay)), order: this.#order++, run };
    const heap = this.#heap;
    let i = heap.length;
    heap.push(item);
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!before(item, heap[parent]!)) break;
      heap[i] = heap[parent]!;
      i = parent;
    }
    heap[i] = item;
  }

  /** Lets the next thing happen. @returns false when nothing is left. */
  step(): boolean {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (first === undefined || last === undefined) return false;
    if (heap.length > 0) {
      let i = 0;
      for (;;) {
        let child = 2 * i + 1;
        if (child >= heap.length) break;
        if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++;
        if (!before(heap[child]!, last)) break;
        heap[i] = heap[child]!;
        i = child;
      }
      heap[i] = last;
    }
    this.now = first.at;
    first.run();
    return true;
  }
}

function before(a: Scheduled, b: Scheduled): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
