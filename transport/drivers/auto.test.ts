import { afterEach, describe, expect, it, vi } from 'vitest';
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
