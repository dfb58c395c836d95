import { execFile } from 'node:child_process';
import { access, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Where the Python clients are installed; kept between runs. */
export const venv = resolve('artifacts/clients/venv');
/** Programs, each in the Debian package of its name. */
const programs = ['rclone', 's3cmd', 'restic', 'docker-registry', 'nats-server'];

/**
 * Installs the clients from their registries: aws-cli and boto3 from PyPI into a virtual environment (pinned by
 * requirements.txt) with DuckDB and pyarrow, programs from Debian's packages where they aren't there. The AWS SDK for
 * JavaScript and minio-js are devDependencies. A client that can't be had fails the run here, by name: it is never silently skipped.
 */
export default async function installClients(): Promise<void> {
  await installPython();
  await installPrograms();
}

async function installPython(): Promise<void> {
  const wanted = await readFile('tests/e2e/requirements.txt', 'utf8');
  const stamp = join(venv, 'requirements.txt');
  const installed = await readFile(stamp, 'utf8').catch(() => '');
  if (installed === wanted) return;
  await mkdir(resolve('artifacts/clients'), { recursive: true });
  await run('python3', ['-m', 'venv', '--clear', venv]);
  await run(join(venv, 'bin/pip'), [
    'install',
    '--quiet',
    '--disable-pip-version-check',
    '-r',
    'tests/e2e/requirements.txt',
  ]);
  await writeFile(stamp, wanted);
}

async function installPrograms(): Promise<void> {
  const there = await Promise.all(programs.map(onPath));
  const missing = programs.filter((_, at) => there[at] !== true);
  if (missing.length === 0) return;
  if (process.getuid?.() !== 0)
    throw new Error(`not installed, and only root can 'apt-get install' it: ${missing.join(', ')}`);
  await run('apt-get', ['update', '-qq']);
  await run('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...missing], {
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  });
}

async function onPath(name: string): Promise<boolean> {
  const directories = (process.env['PATH'] ?? '').split(':');
  const found = await Promise.all(
    directories.map((directory) =>
      access(join(directory, name)).then(
        () => true,
        () => false,
      ),
    ),
  );
  return found.includes(true);
}
