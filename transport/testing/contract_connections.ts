import { Buffer } from 'node:buffer';
import { describe, expect, it } from 'vitest';
import { TransportError } from '../errors.ts';
import { maxNoticeBytes, maxQueuedNoticeBytes, mib } from '../limits.ts';
import { endless, forever, turn, until } from './bodies.ts';
import { type Rig, echo } from './rig.ts';
import { listenSilently } from './silent_server.ts';

/** Connections that come and go, and notices on them. */
export function connectionContract(rig: Rig): void {
  describe('connections', () => {
    it('says when it is up and down, and comes back when its peer does', async () => {
      const first = await rig.serve({ echo });
      const states: string[] = [];
      const peer = rig.dial(first.port, { onState: (state) => states.push(state) });
      await peer.call('echo', {}, { deadlineMs: 5000 });
      expect(peer.state).toBe('up');
      await first.close();
      await until(() => peer.state === 'down');
      await rig.serve({ echo }, { port: first.port });
      await peer.connected(10_000);
      await peer.call('echo', {}, { deadlineMs: 5000 });
      expect(states).toEqual(['up', 'down', 'up']);
    });

    it('fails calls under way when the connection is lost, and calls to nobody by their deadline', async () => {
      const server = await rig.serve({ wait: forever });
      const peer = rig.dial(server.port);
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
      const peer = await rig.pair({ wait: forever });
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
      const silent = await listenSilently(rig.driver);
      rig.onClose(() => silent.close());
      const changes: { state: string; atMs: number }[] = [];
      const peer = rig.dial(silent.port, {
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
      const server = await rig.serve({ wait: forever });
      const peer = rig.dial(server.port);
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
      const peer = await rig.pair({
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
      const peer = await rig.pair({ calls: { echo }, notices: { big: () => undefined } });
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
      const peer = await rig.pair({
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
}
