import { execFile } from 'node:child_process';

class CommandFailedError extends Error {
  override readonly name = 'CommandFailedError';
  readonly code: number | null;
  readonly stderr: string;
  constructor(command: string, code: number | null, stderr: string) {
    super(`${command} exited with ${code}: ${stderr.trim()}`);
    this.code = code;
    this.stderr = stderr;
  }
}

/** Runs a client to its end. @returns its stdout. @throws CommandFailedError with its stderr. */
export async function runCommand(
  file: string,
  options: { args: readonly string[]; env: Record<string, string>; timeoutMs?: number },
): Promise<string> {
  return new Promise((resolve, reject) => {
    const settings = {
      env: options.env,
      timeout: options.timeoutMs ?? 600_000,
      maxBuffer: 64 << 20,
      encoding: 'utf8' as const,
    };
    execFile(file, options.args, settings, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else
        reject(
          new CommandFailedError(
            `${file} ${options.args.join(' ')}`,
            typeof error.code === 'number' ? error.code : null,
            stderr,
          ),
        );
    });
  });
}
