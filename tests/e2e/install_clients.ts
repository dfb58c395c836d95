import { execFile } from 'node:child_process';
import { access, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Where the Python clients are installed; kept between runs. */
export const venv = resolve('artifacts/clients/venv');

/**
 * Installs the clients from their registries: aws-cli and boto3 from PyPI into a virtual environment (pinned by
 * requirements.txt), rclone from Debian's packages where it isn't there. The AWS SDK for JavaScript is a
 * devDependency. A client that can't be had fails the run here, by name: it is never silently skipped.
 */
export default async function installClients(): Promise<void> {
  await installPython();
  await installRclone();
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

async function installRclone(): Promise<void> {
  if (await onPath('rclone')) return;
  if (process.getuid?.() !== 0)
    throw new Error("rclone is not installed, and only root can 'apt-get install rclone'");
  await run('apt-get', ['update', '-qq']);
  await run('apt-get', ['install', '-y', '-qq', '--no-install-recommends', 'rclone'], {
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
