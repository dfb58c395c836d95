import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { encodeBatchCommand, UnknownCommandError } from './command.ts';
import type { Batch, Condition } from './database.ts';
import { openBytesLevel } from './level_tables.ts';
import type { Entry } from './raft/types.ts';
import { mintRequestId } from './request_id.ts';
import { requestWindowMs, type Outcome } from './request_memory.ts';
import { StateMachine } from './state_machine.ts';

let directory: string;
let machine: StateMachine;
const start = 1_700_000_000_000;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 's3db-state-'));
  machine = await StateMachine.open(join(directory, 'a'));
});

afterEach(async () => {
  await machine.close();
  await rm(directory, { recursive: true });
});

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));
const putBatch = (key: string, value: string, conditions: Condition[] = []): Batch => ({
  conditions,
  operations: [{ type: 'put', table: 't', key: bytes(key), value: bytes(value) }],
});

interface Given {
  readonly batch: Batch;
  readonly id?: Uint8Array;
  readonly atMs?: number;
}

function entryAt(index: number, { batch, id, atMs = start }: Given): Entry {
  const requestId = id ?? mintRequestId(atMs);
  return {
    term: 1,
    index,
    type: 'command',
    data: encodeBatchCommand({ timestampMs: atMs, requestId, batch }),
  };
}

async function applyTo(target: StateMachine, given: readonly Given[]): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  const first = target.applied.index + 1;
  await target.apply(
    given.map((one, i) => entryAt(first + i, one)),
    (_, outcome) => outcomes.push(outcome),
  );
  return outcomes;
}

const apply = (...given: Given[]): Promise<Outcome[]> => applyTo(machine, given);

async function value(key: string): Promise<string | undefined> {
  const row = await machine.get('t', bytes(key));
  return row === undefined ? undefined : Buffer.from(row).toString();
}

describe('StateMachine', () => {
  it('applies a round and remembers how far it came across a restart', async () => {
    expect(await apply({ batch: putBatch('a', '1') }, { batch: putBatch('a', '2') })).toEqual([
      { kind: 'applied', index: 1 },
      { kind: 'applied', index: 2 },
    ]);
    await machine.apply([{ term: 3, index: 3, type: 'noop', data: bytes('') }], () => undefined);
    await machine.close();
    machine = await StateMachine.open(join(directory, 'a'));
    expect(machine.applied).toEqual({ index: 3, term: 3, logTimeMs: start });
    expect(await value('a')).toBe('2');
  });

  it('refuses entries out of sequence', async () => {
    await apply({ batch: putBatch('a', '1') });
    await expect(machine.apply([entryAt(1, { batch: putBatch('a', '2') })], () => undefined)).rejects.toThrow(
      '2 is next',
    );
  });

  it('halts at a command it does not know, with nothing of the round applied', async () => {
    const unknown: Entry = { term: 1, index: 2, type: 'command', data: Uint8Array.of(99) };
    const reported: Outcome[] = [];
    const round = [entryAt(1, { batch: putBatch('a', '1') }), unknown];
    await expect(machine.apply(round, (_, outcome) => reported.push(outcome))).rejects.toThrow(
      UnknownCommandError,
    );
    expect(reported).toEqual([]);
    expect(machine.applied.index).toBe(0);
    expect(await value('a')).toBeUndefined();
    await expect(machine.apply(round.slice(0, 1), () => undefined)).rejects.toThrow('one round');
  });

  it('answers a request given again as before and applies nothing', async () => {
    const id = mintRequestId(start);
    const conditional = putBatch('a', '1', [{ table: 't', key: bytes('a'), exists: false }]);
    const refusedId = mintRequestId(start);
    await apply({ batch: conditional, id }, { batch: conditional, id: refusedId });
    await apply({ batch: putBatch('a', 'changed') });
    expect(await apply({ batch: conditional, id }, { batch: conditional, id: refusedId })).toEqual([
      { kind: 'applied', index: 1 },
      { kind: 'conditionFailed', condition: 0 },
    ]);
    expect(await value('a')).toBe('changed');
  });

  it('answers a request given twice within one round once', async () => {
    const id = mintRequestId(start);
    const batch = putBatch('a', '1', [{ table: 't', key: bytes('a'), exists: false }]);
    expect(await apply({ batch, id }, { batch, id })).toEqual([
      { kind: 'applied', index: 1 },
      { kind: 'applied', index: 1 },
    ]);
  });

  it('refuses an id that comes back with another body', async () => {
    const id = mintRequestId(start);
    await apply({ batch: putBatch('a', '1'), id });
    expect(await apply({ batch: putBatch('a', '2'), id })).toEqual([{ kind: 'idReused' }]);
    expect(await value('a')).toBe('1');
  });

  it('remembers across a restart for ten minutes of log time, then refuses', async () => {
    const id = mintRequestId(start);
    const given = { batch: putBatch('a', '1'), id };
    await apply(given);
    await machine.close();
    machine = await StateMachine.open(join(directory, 'a'));
    expect(await apply({ ...given, atMs: start + requestWindowMs })).toEqual([{ kind: 'applied', index: 1 }]);
    expect(await apply({ ...given, atMs: start + requestWindowMs + 1 })).toEqual([{ kind: 'expired' }]);
    // Log time does not go back with a slow clock.
    expect(await apply({ ...given, atMs: start })).toEqual([{ kind: 'expired' }]);
    expect(await apply({ ...given, atMs: start + 3 * requestWindowMs })).toEqual([{ kind: 'expired' }]);
  });

  it('gives the full ten minutes to an id that was old when it was let in', async () => {
    const id = mintRequestId(start - requestWindowMs);
    const given = { batch: putBatch('a', '1'), id };
    expect(await apply(given)).toEqual([{ kind: 'applied', index: 1 }]);
    expect(await apply({ ...given, atMs: start + requestWindowMs })).toEqual([{ kind: 'applied', index: 1 }]);
  });

  it('refuses a new id that is too old, or so far ahead that it would stay for hours', async () => {
    await apply({ batch: putBatch('a', '1') });
    expect(
      await apply(
        { batch: putBatch('a', '2'), id: mintRequestId(start - requestWindowMs - 1) },
        { batch: putBatch('a', '3'), id: mintRequestId(start + 3_600_001) },
      ),
    ).toEqual([{ kind: 'expired' }, { kind: 'fromTheFuture' }]);
    expect(await value('a')).toBe('1');
  });

  it('forgets, so that memory is bounded by the rate of writes', async () => {
    for (let minute = 0; minute < 60; minute++) {
      await apply(...[1, 2, 3].map(() => ({ batch: putBatch('a', '1'), atMs: start + minute * 60_000 })));
    }
    expect(machine.rememberedRequests).toBeLessThanOrEqual(3 * 21);
    expect(machine.rememberedRequests).toBeGreaterThanOrEqual(3 * 20);
    await machine.close();
    const level = await openBytesLevel(join(directory, 'a'));
    const rows = await level.keys({ gte: Uint8Array.of(0, 0x72), lt: Uint8Array.of(0, 0x73) }).all();
    await level.close();
    machine = await StateMachine.open(join(directory, 'a'));
    expect(rows.length).toBe(machine.rememberedRequests);
  });

  it('comes to the same state however the log is cut into rounds', async () => {
    const log: Given[] = [];
    for (let i = 0; i < 120; i++) {
      const atMs = start + i * 45_000;
      const again = log[i - 5];
      if (i % 7 === 6 && again !== undefined) log.push({ ...again, atMs });
      else {
        const conditions: Condition[] = [{ table: 't', key: bytes(String(i % 11)), exists: i % 3 === 0 }];
        log.push({ batch: putBatch(String(i % 5), `v${i}`, conditions), id: mintRequestId(atMs), atMs });
      }
    }
    const digests = new Set<string>();
    const answers = new Set<string>();
    for (const size of [1, 7, 120]) {
      const replica = await StateMachine.open(join(directory, `size-${size}`));
      const outcomes: Outcome[] = [];
      for (let at = 0; at < log.length; at += size)
        outcomes.push(...(await applyTo(replica, log.slice(at, at + size))));
      digests.add(await replica.digest());
      answers.add(JSON.stringify(outcomes));
      await replica.close();
    }
    expect(answers.size).toBe(1);
    expect(digests.size).toBe(1);
  });
});
