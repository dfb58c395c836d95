import { readFile } from 'node:fs/promises';
import { adminCommand } from './admin_command.ts';
import { makeCertificates } from './certs_command.ts';
import { exitCodes, UsageError } from './errors.ts';
import { parseFlags } from './flags.ts';
import { formatNode } from './format_command.ts';
import { joinCommand } from './join_command.ts';
import { helpText } from './help.ts';
import { serve } from './serve.ts';
import { walCommand } from './wal_command.ts';

/** `s3d [COMMAND] [flags]`. @returns the exit code. */
async function main(argv: readonly string[]): Promise<number> {
  const [command, ...rest] = argv;
  const print = (text: string): void => void process.stdout.write(text.endsWith('\n') ? text : `${text}\n`);
  switch (command) {
    case 'help':
    case '-h':
    case '-help':
    case '--help':
      print(helpText());
      return exitCodes.ok;
    case 'version':
    case '-version':
    case '--version':
      print(`s3d ${await version()} (Node ${process.version})`);
      return exitCodes.ok;
    case 'certs':
      print(await makeCertificates(parseFlags(rest, process.env)));
      return exitCodes.ok;
    case 'format':
      print(await formatNode(parseFlags(rest, process.env)));
      return exitCodes.ok;
    case 'admin':
      return adminCommand(rest, print);
    case 'join':
      print(await joinCommand(rest));
      return exitCodes.ok;
    case 'wal':
      return walCommand(rest, print);
    default:
      return serve(parseFlags(argv, process.env), print);
  }
}

async function version(): Promise<string> {
  // From cmd/ in a checkout, from dist/cmd/ in a package.
  for (const path of ['../package.json', '../../package.json']) {
    try {
      const text = await readFile(new URL(path, import.meta.url), 'utf8');
      return (JSON.parse(text) as { version: string }).version;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
  throw new Error('package.json was not found beside the program');
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  if (error instanceof UsageError) {
    for (const line of error.message.split('\n')) process.stderr.write(`s3d: ${line}\n`);
    process.exitCode = exitCodes.config;
  } else {
    process.stderr.write(`s3d: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    process.exitCode = exitCodes.failure;
  }
}
