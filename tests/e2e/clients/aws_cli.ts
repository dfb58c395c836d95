import { join } from 'node:path';
import { venv } from '../install_clients.ts';
import { runCommand } from './command.ts';
import { awsEnvironment, type Endpoint } from './endpoint.ts';

/** aws-cli with its default settings. */
export async function aws(endpoint: Endpoint, ...args: readonly string[]): Promise<string> {
  return runCommand(join(venv, 'bin/aws'), { args, env: awsEnvironment(endpoint) });
}

/** `aws s3api ...`, its JSON answer parsed. */
export async function s3api(
  endpoint: Endpoint,
  ...args: readonly string[]
): Promise<Record<string, unknown>> {
  const text = await aws(endpoint, 's3api', '--output', 'json', ...args);
  return text.trim() === '' ? {} : (JSON.parse(text) as Record<string, unknown>);
}
