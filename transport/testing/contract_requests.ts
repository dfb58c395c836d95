import { Buffer } from 'node:buffer';
import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { TransportError } from '../errors.ts';
import { maxActiveRequests, maxDataBytes, maxWaitingCalls, mib } from '../limits.ts';
import { Turns, collect, endless, failing, list, pieces, repeat, sha256 } from './bodies.ts';
import { type Rig, echo, sink } from './rig.ts';

/** What calls carry, and how they fail. */
export function requestContract(rig: Rig): void {
  describe('requests', () => {
    it('carries a header and a body each way, in order and whole', async () => {
      const peer = await rig.pair({ echo });
      const sent = randomBytes(5 * mib + 77);
      const response = await peer.call(
        'echo',
        { header: Buffer.from('hello'), body: pieces(sent, 100_003) },
        { deadlineMs: 10_000, lane: 'bulk' },
      );
      expect(Buffer.from(response.header).toString()).toBe('hello');
      expect(sha256(await collect(response.body))).toBe(sha256(sent));
    });

    it('carries empty bodies, absent bodies and empty chunks', async () => {
      const peer = await rig.pair({ echo });
      for (const chunks of [[], [0], [0, 3, 0]]) {
        const body = list(chunks.map((size) => Buffer.alloc(size, 1)));
        const response = await peer.call('echo', { body }, { deadlineMs: 5000 });
        expect((await collect(response.body)).length).toBe(chunks.reduce((a, b) => a + b, 0));
      }
      const without = await peer.call('echo', {}, { deadlineMs: 5000 });
      expect(without.header.length).toBe(0);
      expect((await collect(without.body)).length).toBe(0);
    });

    it('carries chunks larger than a frame and thousands of tiny ones on the small lane', async () => {
      const peer = await rig.pair({ echo });
      const big = randomBytes(3 * maxDataBytes + 1);
      const first = await peer.call('echo', { body: list([big]) }, { deadlineMs: 10_000 });
      expect(sha256(await collect(first.body))).toBe(sha256(big));
      const tiny = randomBytes(5000);
      const second = await peer.call('echo', { body: pieces(tiny, 1) }, { deadlineMs: 10_000 });
      expect(sha256(await collect(second.body))).toBe(sha256(tiny));
    });

    it('tells the handler who calls', async () => {
      const peer = await rig.pair({ who: (call) => Promise.resolve({ header: Buffer.from(call.from) }) });
      const response = await peer.call('who', {}, { deadlineMs: 5000 });
      expect(Buffer.from(response.header).toString()).toBe('gateway-1');
    });

    it('answers a thousand calls at once, each with its own answer', async () => {
      const peer = await rig.pair({ echo });
      const answers = await Promise.all(
        Array.from({ length: 3000 }, async (_, i) => {
          const body = i % 3 === 0 ? { body: list([Buffer.from(`body ${i}`)]) } : {};
          const response = await peer.call(
            'echo',
            { header: Buffer.from(String(i)), ...body },
            { deadlineMs: 20_000 },
          );
          const text = (await collect(response.body)).toString();
          return (
            Buffer.from(response.header).toString() === String(i) && text === (i % 3 === 0 ? `body ${i}` : '')
          );
        }),
      );
      expect(answers.every(Boolean)).toBe(true);
    });

    it('refuses more calls than may wait', async () => {
      const release = Promise.withResolvers<undefined>();
      const peer = await rig.pair({ wait: () => release.promise.then(() => ({})) });
      await peer.connected(5000);
      const limit = maxActiveRequests + maxWaitingCalls;
      const calls = Array.from({ length: limit + 1 }, () => peer.call('wait', {}, { deadlineMs: 20_000 }));
      await expect(calls[limit]).rejects.toMatchObject({ code: 'overloaded' });
      release.resolve(undefined);
      expect((await Promise.all(calls.slice(0, limit))).length).toBe(limit);
    });

    it('lets a response begin before the request ends (half-close in both directions)', async () => {
      const peer = await rig.pair({ echo });
      const turn = new Turns();
      const response = await peer.call('echo', { body: turn.body() }, { deadlineMs: 5000 });
      const reader = response.body[Symbol.asyncIterator]();
      for (let i = 0; i < 5; i++) {
        turn.send(Buffer.from(`turn ${i}`));
        const step = await reader.next();
        expect(Buffer.from(step.value as Uint8Array).toString()).toBe(`turn ${i}`);
      }
      turn.end();
      expect((await reader.next()).done).toBe(true);
    });

    it('gives a small request its turn while bulk moves', async () => {
      const peer = await rig.pair({ sink, echo });
      const stop = new AbortController();
      const bulk = peer.call(
        'sink',
        { body: endless() },
        { deadlineMs: 10_000, lane: 'bulk', signal: stop.signal },
      );
      const times: number[] = [];
      for (let i = 0; i < 50; i++) {
        const start = performance.now();
        await peer.call('echo', {}, { deadlineMs: 5000 });
        times.push(performance.now() - start);
      }
      stop.abort();
      await expect(bulk).rejects.toMatchObject({ code: 'cancelled' });
      times.sort((a, b) => a - b);
      expect(times[25]).toBeLessThan(250);
    });

    it('moves every one of many bulk bodies', async () => {
      const peer = await rig.pair({ echo });
      const sizes = await Promise.all(
        Array.from({ length: 40 }, async () => {
          const response = await peer.call(
            'echo',
            { body: repeat(Buffer.alloc(256 * 1024, 3), 8) },
            { deadlineMs: 20_000, lane: 'bulk' },
          );
          return (await collect(response.body)).length;
        }),
      );
      expect(new Set(sizes)).toEqual(new Set([2 * mib]));
    });
  });

  describe('errors', () => {
    it('tells a handler’s own code and message, and `internal` for anything else', async () => {
      const peer = await rig.pair({
        typed: () => Promise.reject(new TransportError('remote', 'no such thing', { remoteCode: 'nothing' })),
        plain: () => Promise.reject(new Error('broke')),
      });
      await expect(peer.call('typed', {}, { deadlineMs: 5000 })).rejects.toMatchObject({
        code: 'remote',
        remoteCode: 'nothing',
        message: 'no such thing',
      });
      await expect(peer.call('plain', {}, { deadlineMs: 5000 })).rejects.toMatchObject({
        code: 'remote',
        remoteCode: 'internal',
      });
    });

    it('answers a method that nobody serves, and stays', async () => {
      const peer = await rig.pair({ echo });
      await expect(peer.call('nothing', {}, { deadlineMs: 5000 })).rejects.toMatchObject({
        code: 'protocol',
      });
      await expect(peer.call('__proto__', {}, { deadlineMs: 5000 })).rejects.toMatchObject({
        code: 'protocol',
      });
      await peer.call('echo', {}, { deadlineMs: 5000 });
    });

    it('passes on that a response’s body failed midway', async () => {
      const peer = await rig.pair({
        half: () =>
          Promise.resolve({
            body: failing(
              Buffer.alloc(1000),
              new TransportError('remote', 'torn', { remoteCode: 'damaged' }),
            ),
          }),
      });
      const response = await peer.call('half', {}, { deadlineMs: 5000 });
      await expect(collect(response.body)).rejects.toMatchObject({ code: 'remote', remoteCode: 'damaged' });
    });

    it('tells the handler and the caller when the request’s body fails', async () => {
      const seen = Promise.withResolvers<unknown>();
      const peer = await rig.pair({
        take: async (call) => {
          await collect(call.body).catch((error: unknown) => {
            seen.resolve(error);
            throw error;
          });
          return {};
        },
      });
      const call = peer.call(
        'take',
        { body: failing(Buffer.alloc(1000), new Error('source')) },
        { deadlineMs: 5000 },
      );
      await expect(call).rejects.toMatchObject({ code: 'cancelled', cause: { message: 'source' } });
      expect(await seen.promise).toMatchObject({ code: 'cancelled' });
    });

    it('refuses what can’t be sent before anything is', async () => {
      const peer = await rig.pair({ echo });
      const options = { deadlineMs: 5000 };
      await expect(peer.call('echo', { header: Buffer.alloc(64 * 1024 + 1) }, options)).rejects.toThrow(
        TypeError,
      );
      await expect(peer.call('', {}, options)).rejects.toThrow(TypeError);
      await expect(peer.call('echo', {}, { deadlineMs: 0 })).rejects.toThrow(TypeError);
      const most = Buffer.alloc(64 * 1024, 1);
      expect((await peer.call('echo', { header: most }, options)).header.length).toBe(most.length);
    });
  });
}
