import { execFile } from 'node:child_process';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ServerProcess } from '../tests/cluster/server_process.ts';
import { writeTestConfig, type TestConfig } from '../tests/cluster/test_config.ts';

const binary = fileURLToPath(new URL('../bin/s3d', import.meta.url));

/** Runs `s3d` to its end. */
async function s3d(...args: readonly string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(binary, args, { timeout: 20_000 }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}

/** The serial number of the certificate that a server shows. */
async function servedSerial(url: string): Promise<string> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = connect({ host: hostname, port: Number(port), rejectUnauthorized: false }, () => {
      resolve(socket.getPeerCertificate().serialNumber);
      socket.destroy();
    });
    socket.on('error', reject);
  });
}

describe('the s3d command', { timeout: 90_000 }, () => {
  let config: TestConfig;
  beforeAll(async () => {
    config = await writeTestConfig({ nodes: 0, databases: 0 });
  });
  afterAll(async () => {
    await config.remove();
  });

  test('version and help', async () => {
    expect((await s3d('version')).stdout).toMatch(/^s3d \d+\.\d+\.\d+ \(Node v2[4-9]\./);
    const help = await s3d('help');
    expect(help.stdout).toContain('-db-node N');
    expect(help.code).toBe(0);
  });

  test('a wrong flag or config is one line on stderr and exit code 78', async () => {
    const directory = await mkdtemp(join(tmpdir(), 's3d-typo-'));
    const file = join(directory, 'typo.toml');
    await writeFile(file, 'version = "1.0"\nregin = "x"\n');
    expect(await s3d('-config', file)).toEqual({
      code: 78,
      stdout: '',
      stderr: `s3d: ${file}: regin: unknown key; did you mean 'region'?\n`,
    });
    expect(await s3d('-prot', '1')).toMatchObject({
      code: 78,
      stderr: "s3d: Unknown option '-prot'; 's3d help' lists the flags\n",
    });
    await rm(directory, { recursive: true });
  });

  test('example keys are refused on any address but loopback', async () => {
    const refused = await s3d(
      '-config',
      'config/server.toml',
      '-host',
      '0.0.0.0',
      '-base-path',
      config.basePath,
    );
    expect(refused.code).toBe(78);
    expect(refused.stderr).toContain(
      "'AKIAIOSFODNN7EXAMPLE' is an example or default pair, which is refused on 0.0.0.0",
    );
  });

  test('a node of a real cluster does not make an identity of its own', async () => {
    const cluster = await writeTestConfig({ nodes: 5, databases: 3 });
    const refused = await s3d('-backend', 'distributed', '-config', cluster.file, '-node', '0');
    expect(refused.code).toBe(78);
    expect(refused.stderr).toContain('cluster.secret');
    expect(refused.stderr).toContain('s3d certs');
    await cluster.remove();
  });

  test('certs makes everything once; a secret that others can read is refused', async () => {
    const cluster = await writeTestConfig({ nodes: 5, databases: 3 });
    expect((await s3d('certs', '-config', cluster.file)).stdout).toContain('ca.pem');
    expect((await s3d('certs', '-config', cluster.file)).stdout).toContain('nothing to do');
    await chmod(join(cluster.basePath, 'cluster.secret'), 0o644);
    const refused = await s3d('-db', '-config', cluster.file, '-db-node', '1');
    expect(refused.code).toBe(78);
    expect(refused.stderr).toContain('cluster.secret');
    await cluster.remove();
  });

  test('format marks a directory, wal looks into it, and another node is refused', async () => {
    const cluster = await writeTestConfig({ nodes: 5, databases: 3 });
    await s3d('certs', '-config', cluster.file);
    expect((await s3d('format', '-config', cluster.file, '-node', '2')).stdout).toContain(
      'belongs to node 2 of cluster',
    );
    const node = join(cluster.basePath, 'shards/node-2');
    expect(await s3d('wal', 'verify', node)).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/0 shards\nsound\n$/) as string,
    });
    expect(await s3d('wal', 'reindex', node)).toMatchObject({ code: 0 });
    expect(await s3d('wal', 'dump', node)).toMatchObject({ code: 0 });
    expect((await s3d('wal', 'verify', cluster.directory)).code).toBe(78);
    await rm(join(cluster.basePath, 'certs'), { recursive: true });
    await rm(join(cluster.basePath, 'cluster.secret'));
    await s3d('certs', '-config', cluster.file);
    const refused = await s3d('format', '-config', cluster.file, '-node', '2');
    expect(refused.code).toBe(78);
    expect(refused.stderr).toMatch(/^s3d: .*node-2.*cluster.*\n$/);
    await cluster.remove();
  });

  test('serves until SIGTERM and exits with 0; SIGHUP takes new certificates', async () => {
    const server = await ServerProcess.start({
      name: 'server',
      args: ['-config', config.file],
      logFile: join(config.directory, 'log'),
    });
    expect(server.stdout.at(-1)).toBe(`s3d ready ${server.url}`);
    const before = await servedSerial(server.url);
    await rm(join(config.basePath, 'certs/127.0.0.1.pem'));
    await s3d('certs', '-config', config.file);
    server.signal('SIGHUP');
    await expect.poll(() => servedSerial(server.url), { timeout: 5000 }).not.toBe(before);
    expect(await server.kill('SIGTERM')).toEqual({ code: 0, signal: null });
  });
});
