import { Buffer } from 'node:buffer';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BodyReader, CreditBudget } from './body_reader.ts';
import { TransportError } from './errors.ts';
import { initialWindowBytes, kib, mib } from './limits.ts';

interface Counters {
  granted: number;
  returned: number;
  finished: number;
}

function reader(options: { window?: number; budget?: CreditBudget } = {}): {
  body: BodyReader;
  seen: Counters;
} {
  const seen = { granted: initialWindowBytes, returned: 0, finished: 0 };
  const body = new BodyReader({
    windowBytes: options.window ?? 4 * mib,
    budget: options.budget ?? new CreditBudget(64 * mib),
    grant: (bytes) => (seen.granted += bytes),
    onProgress: () => undefined,
    onReturn: () => seen.returned++,
    onFinished: () => seen.finished++,
  });
  return { body, seen };
}

/** All of a budget that is free. */
function freeBytes(budget: CreditBudget): number {
  const bytes = budget.take(Number.MAX_SAFE_INTEGER);
  budget.giveBack(bytes);
  return bytes;
}

describe('BodyReader', () => {
  it('never has more on its way or held than its window, whatever the two sides do, and always gets to the end', async () => {
    const steps = fc.array(fc.record({ send: fc.nat(200 * kib), reads: fc.nat(6) }), {
      minLength: 1,
      maxLength: 60,
    });
    const sizes = fc.record({
      window: fc.integer({ min: initialWindowBytes, max: 2 * mib }),
      budget: fc.nat(3 * mib),
    });
    await fc.assert(
      fc.asyncProperty(steps, sizes, async (list, { window, budget: budgetBytes }) => {
        const budget = new CreditBudget(budgetBytes);
        const { body, seen } = reader({ window, budget });
        let sent = 0;
        let read = 0;
        const send = (bytes: number): void => {
          const size = Math.min(bytes, seen.granted - sent);
          if (size > 0) expect(body.push(Buffer.alloc(size), false)).toBe(true);
          sent += size;
        };
        const readOne = async (): Promise<void> => {
          const step = await body.next();
          if (step.done !== true) read += step.value.length;
        };
        for (const { send: bytes, reads } of list) {
          send(bytes);
          for (let i = 0; i < reads && read < sent; i++) await readOne();
          expect(seen.granted - read).toBeLessThanOrEqual(window);
          expect(seen.granted - read - initialWindowBytes).toBeLessThanOrEqual(budgetBytes);
        }
        // A sender that has more always gets more credit from a reader that reads.
        const target = sent + 3 * mib;
        while (sent < target) {
          send(target - sent);
          while (read < sent) await readOne();
        }
        expect(body.push(Buffer.alloc(0), true)).toBe(true);
        expect((await body.next()).done).toBe(true);
        expect(read).toBe(target);
        expect(seen.finished).toBe(1);
        expect(freeBytes(budget)).toBe(budgetBytes);
      }),
      { numRuns: 60 },
    );
  });

  it('says no to a byte more than was granted, and to anything behind the end', () => {
    const { body } = reader();
    expect(body.push(Buffer.alloc(initialWindowBytes), false)).toBe(true);
    expect(body.push(Buffer.alloc(1), false)).toBe(false);
    const ended = reader().body;
    expect(ended.push(Buffer.alloc(1), true)).toBe(true);
    expect(ended.push(Buffer.alloc(0), false)).toBe(false);
  });

  it('holds bytes, not objects, when they come one by one', async () => {
    const { body } = reader();
    for (let i = 0; i < 60_000; i++) body.push(Buffer.from([i & 0xff]), false);
    body.push(Buffer.alloc(0), true);
    let parts = 0;
    const bytes: number[] = [];
    for await (const part of body) {
      parts++;
      bytes.push(...part);
    }
    expect(parts).toBeLessThan(150);
    expect(bytes).toEqual(Array.from({ length: 60_000 }, (_, i) => i & 0xff));
  });

  it('gives its budget back when it fails, is returned from, or ends unread', async () => {
    const budget = new CreditBudget(64 * mib);
    const pending: Promise<unknown>[] = [];
    const bodies = Array.from({ length: 3 }, () => {
      const { body, seen } = reader({ budget });
      pending.push(body.next().catch((error: unknown) => error));
      body.push(Buffer.alloc(10), false);
      return { body, seen };
    });
    expect(freeBytes(budget)).toBeLessThan(64 * mib);
    await Promise.all(pending);
    const [failed, returned, unread] = bodies;
    failed?.body.fail(new TransportError('cancelled', 'x'));
    await returned?.body.return();
    unread?.body.push(Buffer.alloc(5), true);
    unread?.body.fail(new TransportError('deadline', 'x'));
    expect(freeBytes(budget)).toBe(64 * mib);
    expect(returned?.seen.returned).toBe(1);
    expect(bodies.map(({ seen }) => seen.finished)).toEqual([1, 1, 1]);
    await expect(failed?.body.next()).rejects.toMatchObject({ code: 'cancelled' });
    expect((await returned?.body.next())?.done).toBe(true);
  });

  it('has one reader at a time', async () => {
    const { body } = reader();
    const first = body.next();
    await expect(body.next()).rejects.toThrow(TypeError);
    body.push(Buffer.from('a'), true);
    expect((await first).done).toBe(false);
  });
});
