import { Buffer } from 'node:buffer';
import { describe, expect, it } from 'vitest';
import { bulkWindowBytes, maxActiveRequests, mib, readAheadBytes, smallWindowBytes } from '../limits.ts';
import { collect, counted, endless, forever, settled, sizeOf, slowly, stalling, watched } from './bodies.ts';
import { type Rig, echo } from './rig.ts';

/** Back-pressure, cancellation and deadlines. */
export function flowContract(rig: Rig): void {
  describe('credit', () => {
    it('stops a response whose reader pauses, within the window, and goes on after it', async () => {
      let produced = 0;
      const total = 64 * mib;
      const peer = await rig.pair({
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
      const peer = await rig.pair({
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
      const peer = await rig.pair({
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
      const peer = await rig.pair({
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
      const peer = await rig.pair({
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
      const peer = await rig.pair({
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
      const peer = await rig.pair({ wait: forever });
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
      const peer = await rig.pair({
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
      const peer = await rig.pair({
        stall: () => Promise.resolve({ body: watched(stalling(Buffer.alloc(10)), Promise.withResolvers()) }),
        big: () => Promise.resolve({ body: watched(endless(), ended) }),
      });
      const response = await peer.call('stall', {}, { deadlineMs: 300 });
      await expect(collect(response.body)).rejects.toMatchObject({ code: 'deadline' });
      await peer.call('big', {}, { deadlineMs: 300 });
      await ended.promise;
    });

    it('lets a body take longer as long as it moves', async () => {
      const peer = await rig.pair({ echo });
      const response = await peer.call('echo', { body: slowly(8, 100) }, { deadlineMs: 600 });
      expect((await collect(response.body)).length).toBe(8);
    });
  });
}
