import { type ChildProcess, execFile, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { DriverName } from './drivers/select.ts';
import { selectDriver } from './drivers/select.ts';
import { until } from './testing/bodies.ts';
import { Rig, certificate, clusterId, secret } from './testing/rig.ts';

const script = join(import.meta.dirname, 'testing', 'child_process.ts');

describe.each(['http2', 'http3'] as const)('processes over %s', (driver) => {
  const rig = new Rig({ driver: () => selectDriver(driver), secure: true });
  let directory: string;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 's3d-transport-'));
  });
  afterEach(async () => {
    await rig.close();
    await rm(directory, { recursive: true });
  });

  async function optionsFile(port: number): Promise<string> {
    const file = join(directory, 'options.json');
    const options = { driver: driver satisfies DriverName, port, clusterId, secret: secret.toString('hex') };
    await writeFile(file, JSON.stringify({ ...options, tls: certificate }), { mode: 0o600 });
    return file;
  }

  async function startServer(port: number): Promise<{ readonly child: ChildProcess; readonly port: number }> {
    const child = fork(script, ['serve', await optionsFile(port)]);
    rig.onClose(async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const exited = once(child, 'exit');
      child.kill('SIGKILL');
      await exited;
    });
    const [message] = (await once(child, 'message')) as [{ readonly port: number }];
    return { child, port: message.port };
  }

  it('leave nothing that keeps a process alive', async () => {
    const { stdout } = await promisify(execFile)(process.execPath, [script, 'visit', await optionsFile(0)], {
      timeout: 20_000,
    });
    expect(stdout).toBe('hello');
  });

  it('are missed within seconds of a kill, and found again when they return', async () => {
    const first = await startServer(0);
    const states: string[] = [];
    const peer = rig.dial(first.port, { onState: (state) => states.push(state) });
    await peer.call('echo', {}, { deadlineMs: 10_000 });
    const call = peer.call('echo', { body: new ReadableStream<Uint8Array>() }, { deadlineMs: 20_000 });
    const failed = expect(call).rejects.toMatchObject({ code: 'unreachable' });
    const killedMs = performance.now();
    first.child.kill('SIGKILL');
    await until(() => peer.state !== 'up');
    await until(() => peer.state === 'down');
    expect(performance.now() - killedMs).toBeLessThan(8000);
    await failed;
    await startServer(first.port);
    await peer.connected(10_000);
    await peer.call('echo', {}, { deadlineMs: 5000 });
    expect(states.at(-1)).toBe('up');
  });
});
