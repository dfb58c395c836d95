import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { encodeBatch, encodeBatchCommand, UnknownCommandError } from './command.ts';
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
    data: encodeBatchCommand({ timestampMs: atMs, requestId, body: encodeBatch(batch) }),
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
    const level = await openBytesLevel(join(directory, 'a', 'state-000001'));
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

  describe('snapshots', () => {
    const configuration = { voters: [1n, 2n], learners: [3n], removed: [] };
    const metaAt = (index: number) => ({ index, term: 1, configuration });

    async function fill(): Promise<void> {
      for (let i = 0; i < 30; i++) {
        await apply({ batch: putBatch(`key-${i}`, 'v'.repeat(20_000)), atMs: start + i * 60_000 });
      }
    }

    async function piecesOf(source: StateMachine): Promise<Uint8Array[]> {
      const snapshot = await source.openSnapshot(metaAt);
      const pieces: Uint8Array[] = [];
      for await (const piece of snapshot.pieces()) pieces.push(piece);
      await snapshot.close();
      return pieces;
    }

    async function* stream(pieces: Uint8Array[], pieceBytes: number): AsyncGenerator<Uint8Array> {
      const all = Buffer.concat(pieces);
      for (let at = 0; at < all.length; at += pieceBytes) yield all.subarray(at, at + pieceBytes);
    }

    it('carry the whole state, requests included, whatever the pieces they travel in', async () => {
      await fill();
      const id = mintRequestId(start + 29 * 60_000);
      const given = { batch: putBatch('once', '1'), id, atMs: start + 29 * 60_000 };
      await apply(given);
      const pieces = await piecesOf(machine);
      for (const pieceBytes of [1000, 7_777, 10_000_000]) {
        const other = await StateMachine.open(join(directory, `b-${pieceBytes}`));
        await applyTo(other, [{ batch: putBatch('stale', 'gone afterwards') }]);
        const meta = await other.stage(stream(pieces, pieceBytes));
        expect(meta).toEqual(metaAt(31));
        expect(other.applied.index).toBe(1);
        await other.install(meta);
        expect(await other.digest()).toBe(await machine.digest());
        expect(other.applied).toEqual(machine.applied);
        expect(await other.get('t', bytes('stale'))).toBeUndefined();
        expect(await applyTo(other, [given])).toEqual([{ kind: 'applied', index: 31 }]);
        await other.close();
        const again = await StateMachine.open(join(directory, `b-${pieceBytes}`));
        expect(again.applied.index).toBe(32);
        expect(await again.installedMeta()).toEqual(metaAt(31));
        await again.close();
      }
    });

    it('show one moment while writes go on', async () => {
      await fill();
      const digest = await machine.digest();
      const snapshot = await machine.openSnapshot(metaAt);
      await apply({ batch: putBatch('later', '1') });
      const other = await StateMachine.open(join(directory, 'b'));
      const meta = await other.stage(snapshot.pieces());
      await snapshot.close();
      await other.install(meta);
      expect(await other.digest()).toBe(digest);
      await other.close();
    });

    it('with any flipped bit, cut short or with bytes too many are refused and change nothing', async () => {
      await fill();
      const all = Buffer.concat(await piecesOf(machine));
      const other = await StateMachine.open(join(directory, 'b'));
      for (let at = 3; at < all.length; at += Math.ceil(all.length / 20)) {
        const damaged = Buffer.from(all);
        damaged[at]! ^= 4;
        await expect(other.stage(stream([damaged], 50_000))).rejects.toThrow();
      }
      await expect(other.stage(stream([all.subarray(0, -1)], 50_000))).rejects.toThrow('ends');
      await expect(other.stage(stream([all.subarray(0, -37)], 50_000))).rejects.toThrow('ends');
      await expect(other.stage(stream([all, Uint8Array.of(1, 0, 0, 0, 0)], 50_000))).rejects.toThrow(
        'behind the end',
      );
      await expect(other.install(metaAt(30))).rejects.toThrow('not what is staged');
      expect(other.applied.index).toBe(0);
      await other.close();
    });

    it('that were staged and not installed are gone after a restart', async () => {
      await fill();
      const other = await StateMachine.open(join(directory, 'b'));
      await other.stage(stream(await piecesOf(machine), 50_000));
      await other.close();
      const again = await StateMachine.open(join(directory, 'b'));
      expect(again.applied.index).toBe(0);
      await expect(again.install(metaAt(30))).rejects.toThrow('not what is staged');
      await again.close();
    });
  });
});
