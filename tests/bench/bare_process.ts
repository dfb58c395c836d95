import { fileURLToPath } from 'node:url';
import { ServerProcess } from '../cluster/server_process.ts';

const program = fileURLToPath(new URL('bare_server.ts', import.meta.url));

/** Paths: a certificate for 127.0.0.1, its key, and where the log goes. */
export interface BareFiles {
  readonly cert: string;
  readonly key: string;
  readonly log: string;
}

/** `bare_server.ts` in a process of its own. */
export function startBareServer({ cert, key, log }: BareFiles): Promise<ServerProcess> {
  return ServerProcess.start({
    name: 'the bare server',
    command: process.execPath,
    args: [program, cert, key],
    logFile: log,
  });
}
