import { spawn } from 'node:child_process';

/** Runs commands of `ip` as one batch, in the namespace if one is named. @throws when one fails */
export async function ip(commands: readonly string[], namespace?: string): Promise<void> {
  const options = namespace === undefined ? [] : ['-n', namespace];
  if (commands.length > 0) await run('ip', [...options, '-batch', '-'], commands.join('\n'));
}

/** What the command prints. @throws with what it complains about, when it fails */
export async function run(command: string, args: readonly string[], input = ''): Promise<string> {
  const child = spawn(command, args, { stdio: 'pipe' });
  let out = '';
  let errors = '';
  child.stdout.on('data', (data: Buffer) => (out += data.toString()));
  child.stderr.on('data', (data: Buffer) => (errors += data.toString()));
  child.stdin.on('error', () => undefined);
  child.stdin.end(input);
  return new Promise((resolve, reject) => {
    child.once('error', (error) => reject(new Error(`${command}: ${error.message}`)));
    child.once('close', (code) => {
      if (code === 0) resolve(out);
      else reject(new Error(`${command} ${args.join(' ')}: ${errors.trim()}`));
    });
  });
}
