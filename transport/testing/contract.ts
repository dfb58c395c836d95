import { Buffer } from 'node:buffer';
import { createHash, randomBytes } from 'node:crypto';
import { afterEach, describe, expect, it } from 'vitest';
import { encodeMethod } from '../client_lane.ts';
import type { Driver, ServerTls, TransportLogger } from '../driver.ts';
import { TransportError } from '../errors.ts';
import { decodeNamed, flagEnd, frameType, protocolVersion } from '../frame.ts';
import { encodeHello, nonceBytes } from '../handshake.ts';
import {
  bulkWindowBytes,
  maxActiveRequests,
  maxDataBytes,
  maxNoticeBytes,
  maxQueuedNoticeBytes,
  maxWaitingCalls,
  mib,
  readAheadBytes,
  smallWindowBytes,
} from '../limits.ts';
import { type DialOptions, type DialedPeer, dialPeer } from '../peer.ts';
import { type ListenOptions, type ReloadableServer, listenTransport } from '../server.ts';
import type { CallResponse, Handler, Handlers, IncomingCall } from '../transport.ts';
import { TestAuthority } from './certificates.ts';
import { RawLane, rawFrame } from './raw_lane.ts';

export interface ContractSubject {
  /** Every test gets one of its own. */
  driver(): Driver;
  /** Whether it uses certificates. */
  readonly secure: boolean;
}

const clusterId = 'c-1';
const secret = Buffer.alloc(32, 7);
const host = '127.0.0.1';
const authority = new TestAuthority();
const certificate = authority.issue(`node-1.${clusterId}.s3d`);

/** What each driver must do, seen from both ends of it. */
export function transportContract(name: string, subject: ContractSubject): void {
  describe(`${name}: transport contract`, () => {
    const open: (() => Promise<void>)[] = [];
    let driver: Driver;

    afterEach(async () => {
      for (const close of open.splice(0).reverse()) await close();
    });

    async function serve(
      handlers: Handlers | Handlers['calls'],
      options: Partial<ListenOptions> = {},
    ): Promise<ReloadableServer> {
      const server = await listenTransport({
        driver,
        host,
        port: 0,
        self: 'node-1',
        clusterId,
        secret,
        tls: certificate,
        handlers: isHandlers(handlers) ? handlers : { calls: handlers },
        ...options,
      });
      open.push(() => server.close());
      return server;
    }

    function dial(port: number, options: Partial<DialOptions> = {}): DialedPeer {
      const peer = dialPeer({
        driver,
        host,
        port,
        peer: 'node-1',
        self: 'gateway-1',
        clusterId,
        secret,
        tls: { ca: authority.ca },
        ...options,
      });
      open.push(() => peer.close());
      return peer;
    }

    async function pair(handlers: Handlers | Handlers['calls']): Promise<DialedPeer> {
      driver = subject.driver();
      return dial((await serve(handlers)).port);
    }

    async function raw(port: number): Promise<RawLane> {
      const lane = await RawLane.connect({
        driver,
        host,
        port,
        clusterId,
        peer: 'node-1',
        tls: { ca: authority.ca },
      });
      open.push(() => lane.close());
      return lane;
    }

    const asGateway = { from: 'gateway-9', to: 'node-1', clusterId, secret };

    describe('requests', () => {
      it('carries a header and a body each way, in order and whole', async () => {
        const peer = await pair({ echo });
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
        const peer = await pair({ echo });
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
        const peer = await pair({ echo });
        const big = randomBytes(3 * maxDataBytes + 1);
        const first = await peer.call('echo', { body: list([big]) }, { deadlineMs: 10_000 });
        expect(sha256(await collect(first.body))).toBe(sha256(big));
        const tiny = randomBytes(5000);
        const second = await peer.call('echo', { body: pieces(tiny, 1) }, { deadlineMs: 10_000 });
        expect(sha256(await collect(second.body))).toBe(sha256(tiny));
      });

      it('tells the handler who calls', async () => {
        const peer = await pair({ who: (call) => Promise.resolve({ header: Buffer.from(call.from) }) });
        const response = await peer.call('who', {}, { deadlineMs: 5000 });
        expect(Buffer.from(response.header).toString()).toBe('gateway-1');
      });

      it('answers a thousand calls at once, each with its own answer', async () => {
        const peer = await pair({ echo });
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
              Buffer.from(response.header).toString() === String(i) &&
              text === (i % 3 === 0 ? `body ${i}` : '')
            );
          }),
        );
        expect(answers.every(Boolean)).toBe(true);
      });

      it('refuses more calls than may wait', async () => {
        const release = Promise.withResolvers<undefined>();
        const peer = await pair({ wait: () => release.promise.then(() => ({})) });
        await peer.connected(5000);
        const limit = maxActiveRequests + maxWaitingCalls;
        const calls = Array.from({ length: limit + 1 }, () => peer.call('wait', {}, { deadlineMs: 20_000 }));
        await expect(calls[limit]).rejects.toMatchObject({ code: 'overloaded' });
        release.resolve(undefined);
        expect((await Promise.all(calls.slice(0, limit))).length).toBe(limit);
      });

      it('lets a response begin before the request ends (half-close in both directions)', async () => {
        const peer = await pair({ echo });
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
        const peer = await pair({ sink, echo });
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
        const peer = await pair({ echo });
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
        const peer = await pair({
          typed: () =>
            Promise.reject(new TransportError('remote', 'no such thing', { remoteCode: 'nothing' })),
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
        const peer = await pair({ echo });
        await expect(peer.call('nothing', {}, { deadlineMs: 5000 })).rejects.toMatchObject({
          code: 'protocol',
        });
        await expect(peer.call('__proto__', {}, { deadlineMs: 5000 })).rejects.toMatchObject({
          code: 'protocol',
        });
        await peer.call('echo', {}, { deadlineMs: 5000 });
      });

      it('passes on that a response’s body failed midway', async () => {
        const peer = await pair({
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
        const peer = await pair({
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
        const peer = await pair({ echo });
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

    describe('credit', () => {
      it('stops a response whose reader pauses, within the window, and goes on after it', async () => {
        let produced = 0;
        const total = 64 * mib;
        const peer = await pair({
          big: () => Promise.resolve({ body: counted(total, (bytes) => (produced += bytes)) }),
        });
        const response = await peer.call('big', {}, { deadlineMs: 20_000, lane: 'bulk' });
        const reader = response.body[Symbol.asyncIterator]();
        let read = await sizeOf(reader.next());
        await settled(() => produced);
        expect(produced).toBeLessThanOrEqual(read + bulkWindowBytes + readAheadBytes + 2 * mib);
        for (;;) {
          const step = await reader.next();
          if (step.done === true) break;
          read += step.value.length;
        }
        expect(read).toBe(total);
      });

      it('stops a request whose handler pauses, within the window, and goes on after it', async () => {
        let produced = 0;
        const total = 64 * mib;
        const resume = Promise.withResolvers<undefined>();
        const peer = await pair({
          slow: async (call) => {
            const reader = call.body[Symbol.asyncIterator]();
            let read = await sizeOf(reader.next());
            await resume.promise;
            for (;;) {
              const step = await reader.next();
              if (step.done === true) return { header: Buffer.from(String(read)) };
              read += step.value.length;
            }
          },
        });
        const body = counted(total, (bytes) => (produced += bytes));
        const call = peer.call('slow', { body }, { deadlineMs: 20_000, lane: 'bulk' });
        await settled(() => produced);
        expect(produced).toBeLessThanOrEqual(bulkWindowBytes + readAheadBytes + 3 * mib);
        resume.resolve(undefined);
        expect(Buffer.from((await call).header).toString()).toBe(String(total));
      });

      it('holds little on the small lane', async () => {
        let produced = 0;
        const peer = await pair({
          big: () => Promise.resolve({ body: counted(32 * mib, (bytes) => (produced += bytes)) }),
        });
        const response = await peer.call('big', {}, { deadlineMs: 20_000 });
        const reader = response.body[Symbol.asyncIterator]();
        const read = await sizeOf(reader.next());
        await settled(() => produced);
        expect(produced).toBeLessThanOrEqual(read + smallWindowBytes + readAheadBytes + 2 * mib);
        await reader.return?.();
      });
    });

    describe('cancellation', () => {
      it('ends the handler and both bodies when the caller’s signal aborts', async () => {
        const aborted = Promise.withResolvers<unknown>();
        const bodyEnded = Promise.withResolvers<undefined>();
        const sourceEnded = Promise.withResolvers<undefined>();
        const peer = await pair({
          hang: (call) => {
            call.signal.addEventListener('abort', () => aborted.resolve(call.signal.reason));
            return Promise.resolve({ body: watched(endless(), bodyEnded) });
          },
        });
        const controller = new AbortController();
        const response = await peer.call(
          'hang',
          { body: watched(endless(), sourceEnded) },
          { deadlineMs: 10_000, lane: 'bulk', signal: controller.signal },
        );
        const reading = collect(response.body);
        controller.abort(new Error('enough'));
        await expect(reading).rejects.toMatchObject({ code: 'cancelled' });
        expect(await aborted.promise).toMatchObject({ code: 'cancelled' });
        await bodyEnded.promise;
        await sourceEnded.promise;
      });

      it('ends the response’s source when the reader stops', async () => {
        const ended = Promise.withResolvers<undefined>();
        const peer = await pair({
          big: () => Promise.resolve({ body: watched(endless(), ended) }),
          echo,
        });
        const response = await peer.call('big', {}, { deadlineMs: 10_000, lane: 'bulk' });
        for await (const chunk of response.body) {
          expect(chunk.length).toBeGreaterThan(0);
          break;
        }
        await ended.promise;
        await peer.call('echo', {}, { deadlineMs: 5000, lane: 'bulk' });
      });

      it('ends the request’s source when the handler stops reading, and still answers', async () => {
        const ended = Promise.withResolvers<undefined>();
        const peer = await pair({
          some: async (call) => {
            for await (const chunk of call.body) {
              return { header: Buffer.from(String(chunk.length > 0)) };
            }
            return {};
          },
          none: () => Promise.resolve({ header: Buffer.from('none') }),
        });
        const some = await peer.call(
          'some',
          { body: watched(endless(), ended) },
          { deadlineMs: 5000, lane: 'bulk' },
        );
        expect(Buffer.from(some.header).toString()).toBe('true');
        await ended.promise;
        const unread = Promise.withResolvers<undefined>();
        const none = await peer.call('none', { body: watched(endless(), unread) }, { deadlineMs: 5000 });
        expect(Buffer.from(none.header).toString()).toBe('none');
        await unread.promise;
      });

      it('rejects at once with a signal that is aborted already, and while it waits for its turn', async () => {
        const peer = await pair({ wait: forever });
        await expect(
          peer.call('wait', {}, { deadlineMs: 5000, signal: AbortSignal.abort() }),
        ).rejects.toMatchObject({ code: 'cancelled' });
        const others = new AbortController();
        const busy = Array.from({ length: maxActiveRequests }, () =>
          peer.call('wait', {}, { deadlineMs: 20_000, signal: others.signal }).catch(() => undefined),
        );
        await peer.connected(5000);
        const controller = new AbortController();
        const waiting = peer.call('wait', {}, { deadlineMs: 5000, signal: controller.signal });
        controller.abort();
        await expect(waiting).rejects.toMatchObject({ code: 'cancelled' });
        others.abort();
        await Promise.all(busy);
      });
    });

    describe('deadlines', () => {
      it('ends a call that gets no answer, on both sides', async () => {
        const aborted = Promise.withResolvers<undefined>();
        const peer = await pair({
          hang: (call) => {
            call.signal.addEventListener('abort', () => aborted.resolve(undefined));
            return forever();
          },
        });
        const start = performance.now();
        await expect(peer.call('hang', {}, { deadlineMs: 300 })).rejects.toMatchObject({ code: 'deadline' });
        expect(performance.now() - start).toBeGreaterThan(250);
        await aborted.promise;
      });

      it('ends a response that stops moving, and frees what a forgotten one holds', async () => {
        const ended = Promise.withResolvers<undefined>();
        const peer = await pair({
          stall: () =>
            Promise.resolve({ body: watched(stalling(Buffer.alloc(10)), Promise.withResolvers()) }),
          big: () => Promise.resolve({ body: watched(endless(), ended) }),
        });
        const response = await peer.call('stall', {}, { deadlineMs: 300 });
        await expect(collect(response.body)).rejects.toMatchObject({ code: 'deadline' });
        await peer.call('big', {}, { deadlineMs: 300 });
        await ended.promise;
      });

      it('lets a body take longer as long as it moves', async () => {
        const peer = await pair({ echo });
        const response = await peer.call('echo', { body: slowly(8, 100) }, { deadlineMs: 600 });
        expect((await collect(response.body)).length).toBe(8);
      });
    });

    describe('connections', () => {
      it('says when it is up and down, and comes back when its peer does', async () => {
        driver = subject.driver();
        const first = await serve({ echo });
        const states: string[] = [];
        const peer = dial(first.port, { onState: (state) => states.push(state) });
        await peer.call('echo', {}, { deadlineMs: 5000 });
        expect(peer.state).toBe('up');
        await first.close();
        await until(() => peer.state === 'down');
        await serve({ echo }, { port: first.port });
        await peer.connected(10_000);
        await peer.call('echo', {}, { deadlineMs: 5000 });
        expect(states).toEqual(['up', 'down', 'up']);
      });

      it('fails calls under way when the connection is lost, and calls to nobody by their deadline', async () => {
        driver = subject.driver();
        const server = await serve({ wait: forever });
        const peer = dial(server.port);
        const call = peer.call('wait', {}, { deadlineMs: 20_000 });
        const uploading = peer.call('wait', { body: endless() }, { deadlineMs: 20_000, lane: 'bulk' });
        await peer.connected(5000);
        const both = Promise.allSettled([call, uploading]);
        await server.close();
        for (const result of await both) {
          expect(result).toMatchObject({ status: 'rejected', reason: { code: 'unreachable' } });
        }
        const start = performance.now();
        const failure = await peer.call('wait', {}, { deadlineMs: 500 }).catch((error: unknown) => error);
        expect(['unreachable', 'deadline']).toContain((failure as TransportError).code);
        expect(performance.now() - start).toBeLessThan(3000);
      });

      it('fails what is under way when it is closed, and everything after', async () => {
        const peer = await pair({ wait: forever });
        await peer.connected(5000);
        const call = peer.call('wait', {}, { deadlineMs: 20_000 });
        const closing = peer.close();
        await expect(call).rejects.toBeInstanceOf(TransportError);
        await closing;
        await expect(peer.call('wait', {}, { deadlineMs: 1000 })).rejects.toMatchObject({
          code: 'cancelled',
        });
        expect(peer.state).toBe('down');
      });

      it('suspects a silent peer after a second and gives it up after five', async () => {
        driver = subject.driver();
        const silent = await listenSilently(driver, certificate);
        open.push(() => silent.close());
        const changes: { state: string; atMs: number }[] = [];
        const peer = dial(silent.port, {
          onState: (state) => changes.push({ state, atMs: performance.now() }),
        });
        await until(() => changes.some(({ state }) => state === 'down'));
        const [up, suspect, down] = changes;
        expect(changes.slice(0, 3).map(({ state }) => state)).toEqual(['up', 'suspect', 'down']);
        const upMs = up?.atMs ?? 0;
        expect((suspect?.atMs ?? 0) - upMs).toBeGreaterThan(900);
        expect((down?.atMs ?? 0) - upMs).toBeGreaterThan(4500);
        await peer.close();
      });

      it('closes with calls under way, in bounded time', async () => {
        driver = subject.driver();
        const server = await serve({ wait: forever });
        const peer = dial(server.port);
        const call = peer.call('wait', {}, { deadlineMs: 20_000 }).catch((error: unknown) => error);
        await peer.connected(5000);
        const start = performance.now();
        await server.close();
        expect(performance.now() - start).toBeLessThan(10_000);
        expect(await call).toMatchObject({ code: 'unreachable' });
      });
    });

    describe('notices', () => {
      it('arrive in order', async () => {
        const got: number[] = [];
        const all = Promise.withResolvers<undefined>();
        const peer = await pair({
          calls: {},
          notices: {
            count: (from, payload) => {
              expect(from).toBe('gateway-1');
              got.push(Buffer.from(payload).readUInt32BE(0));
              if (got.length === 10_000) all.resolve(undefined);
            },
          },
        });
        await peer.connected(5000);
        for (let i = 0; i < 10_000; i++) {
          const payload = Buffer.alloc(i % 100 === 0 ? 50_000 : 4);
          payload.writeUInt32BE(i);
          // Bounded: what doesn't fit is dropped, so wait for room.
          while (!peer.notify('count', payload)) await turn();
        }
        await all.promise;
        expect(got).toEqual(Array.from({ length: 10_000 }, (_, i) => i));
      });

      it('are dropped, and say so, when there is no connection or too much waits', async () => {
        const peer = await pair({ calls: { echo }, notices: { big: () => undefined } });
        expect(peer.notify('big', Buffer.alloc(1))).toBe(false);
        await peer.connected(5000);
        expect(peer.notify('big', Buffer.alloc(maxNoticeBytes + 1))).toBe(false);
        let taken = 0;
        while (peer.notify('big', Buffer.alloc(mib))) taken += mib;
        expect(taken).toBeGreaterThan(maxQueuedNoticeBytes / 2);
        expect(taken).toBeLessThanOrEqual(maxQueuedNoticeBytes);
        await until(() => peer.notify('big', Buffer.alloc(mib)));
        await peer.call('echo', {}, { deadlineMs: 5000 });
      });

      it('survive a handler that throws', async () => {
        const second = Promise.withResolvers<undefined>();
        let count = 0;
        const peer = await pair({
          calls: {},
          notices: {
            bad: () => {
              if (++count === 2) second.resolve(undefined);
              throw new Error('notice');
            },
          },
        });
        await peer.connected(5000);
        peer.notify('bad', Buffer.alloc(1));
        peer.notify('bad', Buffer.alloc(1));
        await second.promise;
      });
    });

    describe('strangers', () => {
      it('gets nothing with another secret, and neither side calls it a connection', async () => {
        driver = subject.driver();
        let calls = 0;
        const server = await serve({
          touch: () => Promise.resolve({ header: Buffer.from(String(++calls)) }),
        });
        const peer = dial(server.port, { secret: Buffer.alloc(32, 8) });
        await expect(peer.call('touch', {}, { deadlineMs: 5000 })).rejects.toMatchObject({ code: 'refused' });
        expect(peer.state).toBe('down');
        expect(calls).toBe(0);
      });

      it('gets nothing as another cluster’s or for another node', async () => {
        driver = subject.driver();
        const server = await serve({ echo });
        for (const wrong of [{ clusterId: 'c-2' }, { to: 'node-2' }]) {
          const lane = await raw(server.port);
          const hello = encodeHello({
            ...asGateway,
            kind: 'small',
            nonce: randomBytes(nonceBytes),
            ...wrong,
          });
          lane.write(rawFrame(frameType.hello, hello));
          const fatal = decodeNamed((await lane.frame(frameType.fatal)).payload);
          expect(fatal.name).toBe('refused');
          await lane.untilClosed();
        }
      });

      it('notices a server that doesn’t know the secret', async () => {
        driver = subject.driver();
        const impostor = await listenSilently(driver, certificate, { impostor: true });
        open.push(() => impostor.close());
        const peer = dial(impostor.port);
        await expect(peer.call('echo', {}, { deadlineMs: 5000 })).rejects.toMatchObject({ code: 'refused' });
      });

      it('can’t use a recorded opening again', async () => {
        driver = subject.driver();
        const server = await serve({ echo });
        const honest = await raw(server.port);
        const { hello, proof } = await honest.authenticate({ ...asGateway, kind: 'small' });
        await honest.frame(frameType.accept).catch(() => undefined);
        const replay = await raw(server.port);
        replay.write(rawFrame(frameType.hello, hello));
        await replay.frame(frameType.challenge);
        replay.write(rawFrame(frameType.proof, proof));
        replay.write(request('echo'));
        expect(decodeNamed((await replay.frame(frameType.fatal)).payload).name).toBe('refused');
        await replay.untilClosed();
        expect(replay.frames.some(({ type }) => type === frameType.response)).toBe(false);
      });

      it('learns which version is spoken', async () => {
        driver = subject.driver();
        const server = await serve({ echo });
        const lane = await raw(server.port);
        const hello = encodeHello({ ...asGateway, kind: 'small', nonce: randomBytes(nonceBytes) });
        hello.writeUInt16BE(protocolVersion + 1, 4);
        lane.write(rawFrame(frameType.hello, hello));
        const fatal = decodeNamed((await lane.frame(frameType.fatal)).payload);
        expect(fatal.name).toBe('protocol');
        expect(fatal.rest.toString()).toContain(`version ${protocolVersion + 1}`);
        await lane.untilClosed();
      });

      it.each([
        ['noise', () => randomBytes(4096)],
        ['a request before the proof', () => request('touch')],
        ['a length of 4 GiB', () => Buffer.from('0100000000000000ffffffff', 'hex')],
        [
          'a HELLO that lies about its names',
          () =>
            rawFrame(
              frameType.hello,
              Buffer.concat([Buffer.from('s3dL\0\x01\0', 'latin1'), Buffer.alloc(32), Buffer.from([200])]),
            ),
        ],
        ['a proof before HELLO', () => rawFrame(frameType.proof, Buffer.alloc(32))],
      ])('is turned away with %s, and others are served', async (_, bytes) => {
        driver = subject.driver();
        let calls = 0;
        const server = await serve({
          touch: () => Promise.resolve({ header: Buffer.from(String(++calls)) }),
        });
        const lane = await raw(server.port);
        lane.write(bytes());
        await lane.untilClosed();
        expect(calls).toBe(0);
        await dial(server.port).call('touch', {}, { deadlineMs: 5000 });
      });

      if (subject.secure) {
        it('is refused when its certificate names another node or comes from another CA', async () => {
          driver = subject.driver();
          const others: ServerTls[] = [
            authority.issue(`node-2.${clusterId}.s3d`),
            authority.issue('node-1.c-2.s3d'),
            new TestAuthority('other CA').issue(`node-1.${clusterId}.s3d`),
          ];
          for (const tls of others) {
            const server = await serve({ echo }, { tls });
            const peer = dial(server.port);
            await expect(peer.call('echo', {}, { deadlineMs: 5000 })).rejects.toMatchObject({
              code: 'refused',
            });
            await peer.close();
          }
        });

        it('is let through only by a setting that is logged', async () => {
          driver = subject.driver();
          const server = await serve({ echo }, { tls: new TestAuthority('other CA').issue('elsewhere') });
          const log = new RecordingLogger();
          const peer = dial(server.port, {
            logger: log,
            tls: { ca: authority.ca, insecureSkipVerify: true },
          });
          await peer.call('echo', {}, { deadlineMs: 5000 });
          expect(log.warnings.some((line) => line.includes('not verified'))).toBe(true);
        });

        it('sees a new certificate after a reload; a pair that doesn’t fit changes nothing', async () => {
          driver = subject.driver();
          const server = await serve({ echo });
          const peer = dial(server.port);
          await peer.call('echo', {}, { deadlineMs: 5000 });
          const fresh = authority.issue(`node-1.${clusterId}.s3d`);
          await expect(server.reloadCertificates({ ...fresh, key: certificate.key })).rejects.toMatchObject({
            code: 'refused',
          });
          await peer.call('echo', {}, { deadlineMs: 5000 });
          const next = new TestAuthority('next CA');
          await server.reloadCertificates(next.issue(`node-1.${clusterId}.s3d`));
          const newcomer = dial(server.port, { tls: { ca: next.ca } });
          await newcomer.call('echo', {}, { deadlineMs: 5000 });
        });
      }
    });

    describe('members that break the rules', () => {
      async function member(handlers: Handlers['calls'], kind: 'small' | 'bulk' = 'bulk'): Promise<RawLane> {
        driver = subject.driver();
        const server = await serve(handlers);
        const lane = await raw(server.port);
        await lane.authenticate({ ...asGateway, kind });
        await lane.frame(frameType.accept).catch(() => undefined);
        return lane;
      }

      it.each([
        ['an unknown frame', () => rawFrame(0x7f)],
        ['a frame too large for its type', () => Buffer.from('150000000000000000100000', 'hex')],
        ['a DATA frame of 4 GiB', () => Buffer.from('1200000000000001ffffffff', 'hex')],
        ['data of a request that never was', () => rawFrame(frameType.data, Buffer.alloc(10), { id: 9 })],
        ['a response', () => rawFrame(frameType.response, Buffer.alloc(0), { id: 1 })],
        [
          'a broken CREDIT',
          () => Buffer.concat([request('hang'), rawFrame(frameType.credit, Buffer.alloc(2), { id: 1 })]),
        ],
        ['a request id twice', () => Buffer.concat([request('hang'), request('hang')])],
        ['a notice nobody takes', () => rawFrame(frameType.notice, Buffer.from('\x01n'))],
        ['a second HELLO', () => rawFrame(frameType.hello, Buffer.alloc(40))],
        ['a truncated REQUEST', () => rawFrame(frameType.request, Buffer.alloc(3), { id: 1 })],
        [
          'a body where there is none',
          () => Buffer.concat([request('hang'), rawFrame(frameType.data, Buffer.alloc(1), { id: 1 })]),
        ],
      ])('lose their lane for %s', async (_, bytes) => {
        const aborted = Promise.withResolvers<undefined>();
        const lane = await member({
          hang: (call) => {
            call.signal.addEventListener('abort', () => aborted.resolve(undefined));
            return forever();
          },
        });
        lane.write(bytes());
        expect(decodeNamed((await lane.frame(frameType.fatal)).payload).name).toBe('protocol');
        await lane.untilClosed();
      });

      it('lose their lane when they send more than they were granted; the handler sees the body fail', async () => {
        const failed = Promise.withResolvers<unknown>();
        const lane = await member({
          hang: async (call) => {
            await new Promise((resolve) => call.signal.addEventListener('abort', resolve));
            await collect(call.body).catch((error: unknown) => failed.resolve(error));
            return {};
          },
        });
        lane.write(request('hang', { body: true }));
        const flood = rawFrame(frameType.data, Buffer.alloc(60_000), { id: 1 });
        for (let i = 0; i < 100; i++) lane.write(flood);
        expect(decodeNamed((await lane.frame(frameType.fatal)).payload).rest.toString()).toContain('granted');
        await lane.untilClosed();
        expect(await failed.promise).toBeInstanceOf(TransportError);
      });

      it('get `overloaded` for requests beyond the bound, and their handlers don’t run', async () => {
        let running = 0;
        const lane = await member({
          hang: () => {
            running++;
            return forever();
          },
        });
        const requests = Array.from({ length: maxActiveRequests + 50 }, (_, i) =>
          request('hang', { id: i + 1 }),
        );
        lane.write(Buffer.concat(requests));
        const error = await lane.frame(frameType.error);
        expect(decodeNamed(error.payload).name).toBe('overloaded');
        expect(error.id).toBe(maxActiveRequests + 1);
        expect(running).toBe(maxActiveRequests);
      });

      it('can’t have more handlers running by cancelling what they asked for', async () => {
        let running = 0;
        const lane = await member({
          hang: () => {
            running++;
            return forever();
          },
        });
        const frames: Buffer[] = [];
        for (let id = 1; id <= maxActiveRequests + 50; id++) {
          frames.push(request('hang', { id }), rawFrame(frameType.cancel, undefined, { id }));
        }
        lane.write(Buffer.concat(frames));
        await lane.frame(frameType.error);
        expect(running).toBe(maxActiveRequests);
      });
    });
  });
}

const echo: Handler = (call) => Promise.resolve({ header: call.header, body: call.body });

const sink: Handler = async (call: IncomingCall) => {
  let bytes = 0;
  for await (const chunk of call.body) bytes += chunk.length;
  return { header: Buffer.from(String(bytes)) };
};

function forever(): Promise<never> {
  return new Promise(() => undefined);
}

function isHandlers(handlers: Handlers | Handlers['calls']): handlers is Handlers {
  return 'calls' in handlers && typeof handlers.calls === 'object';
}

/** A REQUEST's bytes, without a body unless it says so. */
function request(method: string, options: { readonly id?: number; readonly body?: boolean } = {}): Buffer {
  const deadline = Buffer.alloc(4);
  deadline.writeUInt32BE(60_000);
  return rawFrame(frameType.request, Buffer.concat([deadline, encodeMethod(method)]), {
    id: options.id ?? 1,
    flags: options.body === true ? 0 : flagEnd,
  });
}

interface SilentListener {
  readonly port: number;
  close(): Promise<void>;
}

/** A server that opens lanes as it should and then says nothing; as an impostor it doesn't know the secret. */
async function listenSilently(
  driver: Driver,
  tls: ServerTls,
  options: { readonly impostor?: boolean } = {},
): Promise<SilentListener> {
  const { FrameParser } = await import('../frame.ts');
  const { prove } = await import('../handshake.ts');
  const known = options.impostor === true ? Buffer.alloc(32, 9) : secret;
  return driver.listen({ host, port: 0, tls }, (stream) => {
    let hello = Buffer.alloc(0);
    const challenge = randomBytes(nonceBytes);
    let done = false;
    const parser = new FrameParser({
      onFrame: (type, _flags, _id, payload) => {
        if (type === frameType.hello) {
          hello = Buffer.from(payload);
          stream.write(rawFrame(frameType.challenge, challenge));
        } else if (type === frameType.proof) {
          done = true;
          stream.write(rawFrame(frameType.accept, prove('server', { secret: known, hello, challenge })));
        }
      },
      onData: () => undefined,
    });
    stream.start({
      onData: (chunk) => {
        if (!done) parser.push(chunk);
      },
      onDrain: () => undefined,
      onClose: () => undefined,
    });
  });
}

class RecordingLogger implements TransportLogger {
  readonly warnings: string[] = [];

  info(): void {
    // Nobody asks for these.
  }

  warn(_fields: object, message: string): void {
    this.warnings.push(message);
  }
}

/** A body whose chunks a test sends one by one. */
class Turns {
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

async function* pieces(bytes: Buffer, size: number): AsyncGenerator<Uint8Array, void> {
  for (let i = 0; i < bytes.length; i += size) yield bytes.subarray(i, i + size);
}

async function* list(chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array, void> {
  yield* chunks;
}

async function* repeat(chunk: Uint8Array, times: number): AsyncGenerator<Uint8Array, void> {
  for (let i = 0; i < times; i++) yield chunk;
}

async function* endless(): AsyncGenerator<Uint8Array, void> {
  const chunk = Buffer.alloc(256 * 1024, 1);
  for (;;) yield chunk;
}

async function* counted(total: number, produced: (bytes: number) => void): AsyncGenerator<Uint8Array, void> {
  const chunk = Buffer.alloc(256 * 1024, 2);
  for (let left = total; left > 0; left -= chunk.length) {
    produced(Math.min(left, chunk.length));
    yield chunk.subarray(0, Math.min(left, chunk.length));
  }
}

async function* failing(first: Uint8Array, error: Error): AsyncGenerator<Uint8Array, void> {
  yield first;
  throw error;
}

async function* stalling(first: Uint8Array): AsyncGenerator<Uint8Array, void> {
  yield first;
  await forever();
}

async function* slowly(count: number, pauseMs: number): AsyncGenerator<Uint8Array, void> {
  for (let i = 0; i < count; i++) {
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
    yield Buffer.alloc(1);
  }
}

async function* watched(
  body: AsyncIterable<Uint8Array>,
  ended: PromiseWithResolvers<undefined>,
): AsyncGenerator<Uint8Array, void> {
  try {
    yield* body;
  } finally {
    ended.resolve(undefined);
  }
}

async function collect(body: CallResponse['body']): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function sizeOf(step: Promise<IteratorResult<Uint8Array, unknown>>): Promise<number> {
  const result = await step;
  return result.done === true ? 0 : result.value.length;
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Waits for a condition; the test's own time limit bounds it. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 10));
}

/** Waits until a number has stood still for a fifth of a second. */
async function settled(value: () => number): Promise<void> {
  let before = -1;
  while (before !== value()) {
    before = value();
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}
