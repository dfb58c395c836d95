import { Buffer } from 'node:buffer';
import { createHash } from 'node:crypto';

/** A body whose chunks a test sends one by one. */
export class Turns {
  readonly #queue: Uint8Array[] = [];
  #ended = false;
  #wake: (() => void) | undefined;

  send(chunk: Uint8Array): void {
    this.#queue.push(chunk);
    this.#wake?.();
  }

  end(): void {
    this.#ended = true;
    this.#wake?.();
  }

  async *body(): AsyncGenerator<Uint8Array, void> {
    for (;;) {
      const next = this.#queue.shift();
      if (next !== undefined) yield next;
      else if (this.#ended) return;
      else await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}

export async function* pieces(bytes: Buffer, size: number): AsyncGenerator<Uint8Array, void> {
  for (let i = 0; i < bytes.length; i += size) yield bytes.subarray(i, i + size);
}

export async function* list(chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array, void> {
  yield* chunks;
}

export async function* repeat(chunk: Uint8Array, times: number): AsyncGenerator<Uint8Array, void> {
  for (let i = 0; i < times; i++) yield chunk;
}

export async function* endless(): AsyncGenerator<Uint8Array, void> {
  const chunk = Buffer.alloc(256 * 1024, 1);
  for (;;) yield chunk;
}

export async function* counted(
  total: number,
  produced: (bytes: number) => void,
): AsyncGenerator<Uint8Array, void> {
  const chunk = Buffer.alloc(256 * 1024, 2);
  for (let left = total; left > 0; left -= chunk.length) {
    produced(Math.min(left, chunk.length));
    yield chunk.subarray(0, Math.min(left, chunk.length));
  }
}

export async function* failing(first: Uint8Array, error: Error): AsyncGenerator<Uint8Array, void> {
  yield first;
  throw error;
}

export async function* stalling(first: Uint8Array): AsyncGenerator<Uint8Array, void> {
  yield first;
  await forever();
}

export async function* slowly(count: number, pauseMs: number): AsyncGenerator<Uint8Array, void> {
  for (let i = 0; i < count; i++) {
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
    yield Buffer.alloc(1);
  }
}

export async function* watched(
  body: AsyncIterable<Uint8Array>,
  ended: PromiseWithResolvers<undefined>,
): AsyncGenerator<Uint8Array, void> {
  try {
    yield* body;
  } finally {
    ended.resolve(undefined);
  }
}

export async function collect(body: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks);
}

export async function sizeOf(step: Promise<IteratorResult<Uint8Array, unknown>>): Promise<number> {
  const result = await step;
  return result.done === true ? 0 : result.value.length;
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Waits for a condition; the test's own time limit bounds it. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 10));
}

/** Waits until a number has stood still for a fifth of a second. */
export async function settled(value: () => number): Promise<void> {
  let before = -1;
  while (before !== value()) {
    before = value();
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

export function forever(): Promise<never> {
  return new Promise(() => undefined);
}
