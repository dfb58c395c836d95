import fc from 'fast-check';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { openBytesLevel, type BytesLevel } from './level_tables.ts';
import { RequestMemory, requestWindowMs, type Outcome } from './request_memory.ts';

let directory: string;
let level: BytesLevel;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 's3db-memory-'));
  level = await openBytesLevel(directory);
});

afterEach(async () => {
  await level.close();
  await rm(directory, { recursive: true });
});

const startMs = 1_800_000_000_000;

function idOf(mintedMs: number, number: number): Uint8Array {
  const id = Buffer.alloc(16);
  id.writeUIntBE(mintedMs, 0, 6);
  id.writeUInt8(number, 15);
  return new Uint8Array(id);
}

interface Ask {
  readonly mintedMs: number;
  readonly number: number;
  readonly digest: number;
}

/** A round of commands as the state machine gives it. */
async function round(
  memory: RequestMemory,
  asks: readonly Ask[],
  logTimeMs: number,
): Promise<(Outcome | undefined)[]> {
  await memory.prefetch(asks.map((ask) => idOf(ask.mintedMs, ask.number)));
  const answers = asks.map((ask) => {
    const id = idOf(ask.mintedMs, ask.number);
    const digest = new Uint8Array(16).fill(ask.digest);
    const before = memory.recall(id, digest, logTimeMs);
    if (before === undefined) {
      memory.remember(id, digest, {
        logTimeMs,
        outcome: { kind: 'applied', index: ask.mintedMs * 8 + ask.number },
      });
    }
    return before;
  });
  const { operations } = await memory.endRound(logTimeMs);
  await level.batch([...operations], { sync: false });
  return answers;
}

it('answers alike whether an id is in memory or in its row only', async () => {
  const ask = fc.record({
    // A few seconds apart, some older than the window, some of a clock that is ahead.
    mintedMs: fc.oneof(
      fc.integer({ min: 0, max: 8000 }),
      fc.integer({ min: -requestWindowMs - 2000, max: 2 * requestWindowMs }),
    ),
    number: fc.nat({ max: 3 }),
    digest: fc.nat({ max: 1 }),
  });
  const step = fc.record({
    asks: fc.array(ask, { maxLength: 6 }),
    passedMs: fc.constantFrom(0, 500, requestWindowMs),
    reopened: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 12 }), fc.nat({ max: 8 }), async (steps, recentLimit) => {
      const seen: (Outcome | undefined)[][][] = [];
      for (const limit of [0, recentLimit, 1000]) {
        await level.clear();
        let memory = new RequestMemory(level, { recentLimit: limit });
        let logTimeMs = startMs;
        const answers: (Outcome | undefined)[][] = [];
        for (const { asks, passedMs, reopened } of steps) {
          if (reopened) memory = new RequestMemory(level, { recentLimit: limit });
          logTimeMs += passedMs;
          answers.push(
            await round(
              memory,
              asks.map((one) => ({ ...one, mintedMs: startMs + one.mintedMs })),
              logTimeMs,
            ),
          );
        }
        seen.push(answers);
      }
      expect(seen[1]).toEqual(seen[0]);
      expect(seen[2]).toEqual(seen[0]);
    }),
    { numRuns: 150 },
  );
});

it('asks Level about none of the ids of the last moment', async () => {
  let reads = 0;
  const counted = new Proxy(level, {
    get(target, name) {
      if (name === 'getMany') reads++;
      const member: unknown = Reflect.get(target, name);
      return typeof member === 'function' ? (member.bind(target) as unknown) : member;
    },
  });
  const memory = new RequestMemory(counted);
  const asks = (from: number): Ask[] =>
    Array.from({ length: 4 }, (_, number) => ({ mintedMs: startMs + from, number, digest: 1 }));
  expect(await round(memory, asks(0), startMs)).toEqual([undefined, undefined, undefined, undefined]);
  expect((await round(memory, asks(0), startMs)).map((answer) => answer?.kind)).toEqual(
    Array(4).fill('applied'),
  );
  expect(await round(memory, asks(-1000), startMs)).toEqual([undefined, undefined, undefined, undefined]);
  expect(reads).toBe(0);
  const reopened = new RequestMemory(counted);
  expect((await round(reopened, asks(0), startMs)).map((answer) => answer?.kind)).toEqual(
    Array(4).fill('applied'),
  );
  expect(reads).toBe(1);
});
