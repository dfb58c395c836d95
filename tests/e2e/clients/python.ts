import { join } from 'node:path';
import { venv } from '../install_clients.ts';
import { runCommand } from './command.ts';
import { awsEnvironment, type Endpoint } from './endpoint.ts';

/**
 * Runs a Python script among the installed clients, with the endpoint in `host` (HOST:PORT), `ca`, `key`, `secret` and
 * `region`. What it prints comes back.
 */
export async function python(endpoint: Endpoint, script: string): Promise<string> {
  const prelude = `import os
host = os.environ["AWS_ENDPOINT_URL"].removeprefix("https://")
ca = os.environ["AWS_CA_BUNDLE"]
key, secret = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
region = os.environ["AWS_DEFAULT_REGION"]
`;
  return runCommand(join(venv, 'bin/python'), {
    args: ['-c', prelude + script],
    env: awsEnvironment(endpoint),
  });
}
