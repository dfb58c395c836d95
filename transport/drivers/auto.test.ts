import { afterEach, describe, expect, it, vi } from 'vitest';
import type { Driver } from '../driver.ts';
import { TransportError } from '../errors.ts';
import { Turns, until } from '../testing/bodies.ts';
import { RecordingLogger, Rig, echo } from '../testing/rig.ts';
import { autoDriver } from './auto.ts';
import { http2Driver } from './http2.ts';
import { http3Driver } from './http3.ts';

describe('auto', () => {
  const rig = new Rig({ driver: () => autoDriver, secure: true });
  afterEach(async () => {
    await rig.close();
    vi.doUnmock('@currentspace/http3');
    vi.resetModules();
  });

  it('takes HTTP/3 and HTTP/2 on one port, and dials HTTP/3 itself', async () => {
    const server = await rig.serve({ echo });
    const peers = [autoDriver, http3Driver, http2Driver].map((driver) => rig.dial(server.port, { driver }));
    for (const peer of peers) await peer.call('echo', {}, { deadlineMs: 5000 });
    expect(peers.map((peer) => peer.via)).toEqual(['http3', 'http3', 'http2']);
  });

  it('falls back to HTTP/2 with a warning where nobody answers on UDP', async () => {
    const server = await rig.serve({ echo }, { driver: http2Driver });
    const logger = new RecordingLogger();
    const peer = rig.dial(server.port, { logger });
    await peer.call('echo', {}, { deadlineMs: 10_000 });
    expect(peer.via).toBe('http2');
    expect(logger.warnings).toEqual(['HTTP/3 failed, connected over HTTP/2']);
  });

  /** Falls back at first, as where the network begins to let UDP through only later. */
  function fallsBack(better: Driver): Driver {
    return {
      name: 'falls back',
      listen: (options, accept) => autoDriver.listen(options, accept),
      connect: (options) => http2Driver.connect(options),
      better: (via) => (via === 'http2' ? better : undefined),
    };
  }

  it('goes back to HTTP/3 in time; calls under way end where they began, notices stay in order', async () => {
    const got: number[] = [];
    const turns = new Turns();
    const server = await rig.serve({
      calls: { echo },
      notices: { count: (_from, payload) => void got.push(Buffer.from(payload).readUInt32BE(0)) },
    });
    const peer = rig.dial(server.port, { driver: fallsBack(http3Driver), upgradeMs: 50 });
    await peer.connected(5000);
    expect(peer.via).toBe('http2');
    const response = await peer.call('echo', { body: turns.body() }, { deadlineMs: 10_000 });
    const reader = response.body[Symbol.asyncIterator]();
    const sent: number[] = [];
    const notice = (): void => {
      const payload = Buffer.alloc(4);
      payload.writeUInt32BE(sent.length);
      if (peer.notify('count', payload)) sent.push(sent.length);
    };
    while (peer.via === 'http2') {
      notice();
      await peer.call('echo', {}, { deadlineMs: 5000 });
    }
    expect(peer.state).toBe('up');
    for (let i = 0; i < 200; i++) {
      notice();
      if (i % 20 === 0) await peer.call('echo', {}, { deadlineMs: 5000 });
    }
    for (let i = 0; i < 3; i++) {
      turns.send(Buffer.from(`turn ${i}`));
      const step = await reader.next();
      expect(Buffer.from(step.value as Uint8Array).toString()).toBe(`turn ${i}`);
    }
    turns.end();
    expect((await reader.next()).done).toBe(true);
    await until(() => got.length === sent.length);
    expect(got).toEqual(sent);
    expect(peer.via).toBe('http3');
  });

  it('tries HTTP/3 again with growing pauses, and nobody notices', async () => {
    const attempts: number[] = [];
    const unreachable: Driver = {
      name: 'unreachable',
      listen: () => Promise.reject(new TransportError('unreachable', 'not here')),
      connect: () => {
        attempts.push(performance.now());
        return Promise.reject(new TransportError('unreachable', 'UDP is dropped'));
      },
    };
    const server = await rig.serve({ echo });
    const states: string[] = [];
    const peer = rig.dial(server.port, {
      driver: fallsBack(unreachable),
      upgradeMs: 40,
      onState: (state) => states.push(state),
    });
    await peer.connected(5000);
    while (attempts.length < 4) await peer.call('echo', {}, { deadlineMs: 5000 });
    const [first = 0, second = 0, third = 0, fourth = 0] = attempts;
    expect(second - first).toBeGreaterThan(70);
    expect(third - second).toBeGreaterThan(150);
    expect(fourth - third).toBeGreaterThan(300);
    expect(peer.via).toBe('http2');
    expect(states).toEqual(['up']);
  });

  it('listens and dials over HTTP/2 where the library can’t be loaded', async () => {
    vi.resetModules();
    vi.doMock('@currentspace/http3', () => {
      throw new Error('no binary for this platform');
    });
    const { autoDriver: withoutHttp3 } = await import('./auto.ts');
    const logger = new RecordingLogger();
    const server = await rig.serve({ echo }, { driver: withoutHttp3, logger });
    expect(logger.warnings).toEqual(['listening for HTTP/2 only']);
    const peer = rig.dial(server.port, { driver: withoutHttp3 });
    await peer.call('echo', {}, { deadlineMs: 5000 });
    expect(peer.via).toBe('http2');
  });
});
