import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { NatsDestination } from './nats.ts';

/** The real broker, where this machine has it: `apt-get install nats-server`. */
const broker = ['nats-server', '/usr/sbin/nats-server'].find(
  (path) => spawnSync(path, ['--version']).status === 0,
);
const title = broker === undefined ? 'NATS (not tried: nats-server is not installed)' : 'NATS';

let directory: string;
let server: ChildProcess | undefined;
let url: string;

async function start(port = -1): Promise<void> {
  const ports = await mkdtemp(join(directory, 'ports-'));
  server = spawn(
    broker ?? '',
    [
      '-a',
      '127.0.0.1',
      '-p',
      String(port),
      '-js',
      '-sd',
      directory,
      '--ports_file_dir',
      ports,
      '--auth',
      's3cret',
    ],
    { stdio: 'ignore' },
  );
  url = await vi.waitFor(
    async () => {
      const [file = ''] = await readdir(ports);
      const { nats } = JSON.parse(await readFile(join(ports, file), 'utf8')) as { nats: [string] };
      return nats[0];
    },
    { timeout: 10_000 },
  );
}

async function stop(): Promise<void> {
  const process = server;
  if (process === undefined) return;
  server = undefined;
  const ended = new Promise((resolve) => process.once('exit', resolve));
  process.kill('SIGKILL');
  await ended;
}

describe.skipIf(broker === undefined)(title, () => {
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 's3d-nats-'));
    await start();
  });
  afterEach(async () => {
    await stop();
    await rm(directory, { recursive: true });
  });

  it('acknowledges what a stream has stored, drops repetitions, and is found again after a restart', async () => {
    const connection = await connect({ servers: url, token: 's3cret' });
    const manager = await jetstreamManager(connection);
    await manager.streams.add({ name: 'S3', subjects: ['s3.events'] });
    const stored = async (): Promise<number> => (await manager.streams.info('S3')).state.messages;
    const destination = new NatsDestination({
      name: 'queue',
      servers: [url],
      subject: 's3.events',
      token: 's3cret',
    });
    const signal = AbortSignal.timeout(30_000);
    await destination.deliver({ id: '1', body: '{"n":1}' }, signal);
    await destination.deliver({ id: '1', body: '{"n":1}' }, signal);
    await destination.deliver({ id: '2', body: '{"n":2}' }, signal);
    expect(await stored()).toBe(2);
    expect((await manager.streams.getMessage('S3', { seq: 2 }))?.string()).toBe('{"n":2}');

    await connection.close();
    const port = Number(new URL(url).port);
    await stop();
    await expect(destination.deliver({ id: '3', body: '{"n":3}' }, signal)).rejects.toThrow();
    await start(port);
    await vi.waitFor(() => destination.deliver({ id: '3', body: '{"n":3}' }, signal), { timeout: 20_000 });
    await destination.close();
    const again = await connect({ servers: url, token: 's3cret' });
    expect((await (await jetstreamManager(again)).streams.info('S3')).state.messages).toBe(3);
    await again.close();
  }, 60_000);

  it('does not acknowledge what nobody stores, or lets nobody in without the token', async () => {
    const signal = AbortSignal.timeout(30_000);
    const event = { id: '1', body: '{}' };
    const nobody = new NatsDestination({ name: 'n', servers: [url], subject: 'no.stream', token: 's3cret' });
    await expect(nobody.deliver(event, signal)).rejects.toThrow();
    await nobody.close();
    const stranger = new NatsDestination({ name: 'n', servers: [url], subject: 'no.stream', token: 'wrong' });
    await expect(stranger.deliver(event, signal)).rejects.toThrow(/authorization/i);
    await stranger.close();
  }, 60_000);
});
