import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { CreateBucketCommand } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Cluster } from '../cluster/cluster.ts';
import { ServerProcess } from '../cluster/server_process.ts';
import { testKeys, testRegion, writeTestConfig, type TestConfig } from '../cluster/test_config.ts';
import { awsSdk } from './clients/aws_sdk.ts';
import { putRandom, sha256OfObject } from './clients/objects.ts';

const run = promisify(execFile);
const binary = fileURLToPath(new URL('../../bin/s3d', import.meta.url));
const objects = 150;
const bucket = 'members';

describe('shard nodes that come and go, as real processes', () => {
  let config: TestConfig;
  let cluster: Cluster;
  let elsewhere: string;
  let sixth: ServerProcess | undefined;
  const acknowledged = new Map<string, string>();

  const s3 = (id: number): ReturnType<typeof awsSdk> => {
    const server = cluster.nodes.get(id);
    if (server === undefined) throw new Error(`node ${id} was never started`);
    return awsSdk({ url: server.url, caFile: cluster.caFile, keys: testKeys });
  };
  const admin = async (...args: string[]): Promise<string> => {
    const { stdout } = await run(binary, ['admin', ...args, '-config', config.file]);
    return stdout;
  };
  const settled = async (): Promise<string> => {
    const untilMs = performance.now() + 200_000;
    for (;;) {
      const status = await admin('node', 'status');
      if (status.includes('every object is whole') && status.includes('is where it belongs')) return status;
      if (performance.now() > untilMs) throw new Error(`not settled:\n${status}`);
      await sleep(1000);
    }
  };
  const shardsOf = (status: string, node: number): number => {
    const row = new RegExp(`^${node} .*$`, 'm').exec(status)?.[0].split(/\s{2,}/);
    return Number(row?.[5]);
  };
  const expectAllRight = async (id: number): Promise<void> => {
    for (const [key, sha256] of acknowledged) {
      expect(await sha256OfObject(s3(id), { bucket, key }), key).toBe(sha256);
    }
  };

  beforeAll(async () => {
    config = await writeTestConfig({
      nodes: 5,
      databases: 3,
      extra: '[gc]\ndelay = "1s"\nepoch = "20s"',
    });
    cluster = await Cluster.start(config.file);
    elsewhere = await mkdtemp(join(tmpdir(), 's3d-joining-'));
    await s3(0).send(new CreateBucketCommand({ Bucket: bucket }));
    for (let i = 0; i < objects; i += 1) {
      const key = `k${i}`;
      acknowledged.set(key, await putRandom(s3(i % 5), { bucket, key, sizeBytes: 100 + i * 300 }));
    }
  });
  afterAll(async () => {
    await sixth?.kill('SIGTERM');
    await cluster.stop();
    await config.remove();
    await rm(elsewhere, { recursive: true });
  });

  test('a disk that was wiped is filled again by nothing but starting its node', async () => {
    await cluster.nodes.get(3)?.kill('SIGKILL');
    await rm(join(config.basePath, 'shards', 'node-3'), { recursive: true });
    await cluster.startNode(3);
    const untilMs = performance.now() + 200_000;
    while (shardsOf(await admin('node', 'status'), 3) < objects) {
      expect(performance.now()).toBeLessThan(untilMs);
      await sleep(1000);
    }
    await settled();
    await expectAllRight(3);
  });

  test('a sixth node needs an address and its credentials; a sixth of the shards moves to it', async () => {
    // What an operator copies to the new host.
    const certs = join(config.basePath, 'certs');
    await run(binary, ['certs', '-config', config.file, '-node', '5', '-host', '127.0.0.1']);
    await mkdir(join(elsewhere, 'certs'));
    for (const name of ['ca.pem', '127.0.0.1.pem', '127.0.0.1.key']) {
      await cp(join(certs, name), join(elsewhere, 'certs', name));
    }
    await cp(join(config.basePath, 'cluster.secret'), join(elsewhere, 'cluster.secret'));
    const joined = join(elsewhere, 'cluster.toml');
    const join5 = [
      'join',
      `https://127.0.0.1:${config.port + 1000}`,
      '-node',
      '5',
      '-address',
      `127.0.0.1:${config.port + 45}`,
      '-config',
      joined,
      '-base-path',
      elsewhere,
      '-region',
      testRegion,
    ];
    await run(binary, join5);
    await expect(run(binary, join5)).rejects.toThrow('is there already');
    const before = await settled();
    sixth = await ServerProcess.start({
      name: 'node-5',
      args: ['-backend', 'distributed', '-config', joined, '-node', '5', '-port', String(config.port + 5)],
      logFile: join(elsewhere, 'node-5.log'),
    });
    // It takes a moment until others know it.
    await expect.poll(() => admin('node', 'status'), { timeout: 60_000 }).toMatch(/^5 .*up +active/m);
    await sleep(12_000);
    const after = await settled();
    expect(shardsOf(before, 0)).toBe(objects);
    const share = shardsOf(after, 5) / (objects * 5);
    expect(share).toBeGreaterThan(1 / 6 - 0.03);
    expect(share).toBeLessThan(1 / 6 + 0.03);
    await expectAllRight(1);
  });

  test('a node is removed once all it had lies elsewhere; then it may be switched off', async () => {
    await admin('node', 'remove', '1', '-wait');
    await cluster.nodes.get(1)?.kill('SIGKILL');
    await expectAllRight(2);
    await expect(admin('node', 'remove', '2')).rejects.toThrow('each object needs 5');
    await expect(cluster.startNode(1)).rejects.toThrow('before it was ready');
  });

  test('who does not know the secret gets no config', async () => {
    const stranger = await mkdtemp(join(tmpdir(), 's3d-stranger-'));
    try {
      await mkdir(join(stranger, 'certs'));
      await cp(join(config.basePath, 'certs', 'ca.pem'), join(stranger, 'certs', 'ca.pem'));
      const other = await writeTestConfig({ nodes: 5, databases: 1 });
      await run(binary, ['certs', '-config', other.file]);
      await cp(join(other.basePath, 'cluster.secret'), join(stranger, 'cluster.secret'));
      await other.remove();
      const url = `https://127.0.0.1:${config.port + 1000}`;
      const args = ['join', url, '-node', '6', '-address', '127.0.0.1:1', '-base-path', stranger];
      const refused = run(binary, [...args, '-region', testRegion, '-config', join(stranger, 'c.toml')]);
      await expect(refused).rejects.toThrow('401');
    } finally {
      await rm(stranger, { recursive: true });
    }
  });
});
