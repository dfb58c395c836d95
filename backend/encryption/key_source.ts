import { execFile } from 'node:child_process';
import { open } from 'node:fs/promises';
import { KeyringError } from './errors.ts';
import { Keyring } from './keyring.ts';

/** Where the keys come from: a file, or a program (with its arguments) that prints what would be in the file. */
export type KeySource = { readonly file: string } | { readonly command: readonly [string, ...string[]] };

const maxTextBytes = 1024 * 1024;
const commandMs = 30_000;

/**
 * Reads the keyring.
 * @throws KeyringError naming the source, what is wrong and what would be right.
 */
export async function readKeyring(source: KeySource): Promise<Keyring> {
  if ('file' in source) return Keyring.parse(await readPrivateFile(source.file), source.file);
  const name = `key_command '${source.command[0]}'`;
  return Keyring.parse(await runCommand(source.command, name), name);
}

/** Mode and content are of the same open file. */
async function readPrivateFile(file: string): Promise<string> {
  const handle = await open(file, 'r').catch((error: unknown) => {
    const code = codeOf(error);
    throw code === 'ENOENT'
      ? new KeyringError(
          'missing',
          file,
          'there is no such file; make it with: (umask 077; openssl rand -base64 32 > FILE)',
        )
      : new KeyringError('unreadable', file, `can't be read (${code})`);
  });
  try {
    const { mode, size } = await handle.stat();
    if ((mode & 0o077) !== 0) {
      const shown = (mode & 0o777).toString(8).padStart(4, '0');
      throw new KeyringError(
        'exposed',
        file,
        `is open to others on this machine (mode ${shown}); run: chmod 600 ${file}`,
      );
    }
    if (size > maxTextBytes) throw new KeyringError('malformed', file, 'is too big for a key file');
    return await handle.readFile('utf8');
  } catch (error) {
    throw error instanceof KeyringError
      ? error
      : new KeyringError('unreadable', file, `can't be read (${codeOf(error)})`);
  } finally {
    await handle.close();
  }
}

/** Runs the program without a shell. Of what it writes to stderr only the first line is repeated. */
function runCommand(command: readonly [string, ...string[]], name: string): Promise<string> {
  const [program, ...args] = command;
  return new Promise((resolve, reject) => {
    const child = execFile(
      program,
      args,
      { timeout: commandMs, maxBuffer: maxTextBytes, killSignal: 'SIGKILL', encoding: 'utf8' },
      (error, stdout, stderr) => {
        if (error === null) resolve(stdout);
        else reject(new KeyringError('command-failed', name, describe(error, stderr)));
      },
    );
    child.stdin?.end();
  });
}

function describe(
  error: Error & { readonly code?: unknown; readonly killed?: boolean },
  stderr: string,
): string {
  if (error.killed === true) return `printed no key within ${commandMs / 1000} s`;
  if (typeof error.code === 'string') return `can't be run (${error.code})`;
  const [line = ''] = stderr.trim().split('\n');
  return `failed with exit code ${String(error.code)}${line === '' ? '' : `: ${line.slice(0, 200)}`}`;
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? String(error);
}
