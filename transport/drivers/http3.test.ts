import { connect as connectHttp2 } from 'node:http2';
import { afterEach, describe, expect, it } from 'vitest';
import type { Driver } from '../driver.ts';
import { until } from '../testing/bodies.ts';
import { transportContract } from '../testing/contract.ts';
import { Rig, authority, clusterId, echo, host } from '../testing/rig.ts';
import { autoDriver } from './auto.ts';
import { http2Driver } from './http2.ts';
import { http3Driver } from './http3.ts';

transportContract('http3', { driver: () => http3Driver, secure: true });

/** The library's server binds HTTP/2 on the same port number; whoever comes that way meets the same rules. */
const http2ToHttp3: Driver = {
  name: 'http2 to http3',
  listen: (options, accept) => http3Driver.listen(options, accept),
  connect: (options) => http2Driver.connect(options),
};
transportContract('http2 to an http3 listener', { driver: () => http2ToHttp3, secure: true });

describe('http3', () => {
  const rig = new Rig({ driver: () => autoDriver, secure: true });
  afterEach(() => rig.close());

  it('answers 404 to a request that is no lane', async () => {
    const server = await rig.serve({ echo });
    const session = connectHttp2(`https://${host}:${server.port}`, {
      ca: authority.ca,
      servername: `node-1.${clusterId}.s3d`,
    });
    rig.onClose(async () => session.destroy());
    const status = await new Promise((resolve, reject) => {
      const stream = session.request({ ':path': '/', ':method': 'GET' });
      stream.on('response', (headers) => resolve(headers[':status']));
      stream.on('error', reject);
    });
    expect(status).toBe(404);
  });

  it('keeps its peers over a change of certificates', async () => {
    const server = await rig.serve({ echo });
    const peer = rig.dial(server.port);
    await peer.call('echo', {}, { deadlineMs: 5000 });
    expect(peer.via).toBe('http3');
    await server.reloadCertificates(authority.issue(`node-1.${clusterId}.s3d`));
    // The connection ends and comes back; a call that was on it fails.
    await until(() => peer.state === 'down');
    await peer.connected(10_000);
    await peer.call('echo', {}, { deadlineMs: 5000 });
  });
});
