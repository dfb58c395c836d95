import { join } from 'node:path';
import { venv } from '../install_clients.ts';
import { runCommand } from './command.ts';
import { awsEnvironment, type Endpoint } from './endpoint.ts';

/** Runs a Python script in which `s3` is a boto3 client with default settings. What it prints comes back. */
export async function boto3(endpoint: Endpoint, script: string): Promise<string> {
  const prelude =
    'import boto3, hashlib, io, json, os, sys\nfrom botocore.exceptions import ClientError\ns3 = boto3.client("s3")\n';
  return runCommand(join(venv, 'bin/python'), {
    args: ['-c', prelude + script],
    env: awsEnvironment(endpoint),
  });
}
