import { parseArgs, type ParseArgsOptionsConfig } from 'node:util';
import { UsageError } from './errors.ts';

/** `-config x` as `--config x`, which mean the same; a lone `-1` stays a value. */
export function withLongFlags(argv: readonly string[]): string[] {
  return argv.map((arg) => (/^-[a-z]/.test(arg) ? `-${arg}` : arg));
}

/** What `parseArgs` has against its input, in the flags as they are written here. */
export function argumentsRefusal(error: unknown): string {
  const message = error instanceof Error ? (error.message.split('. ')[0] ?? '') : String(error);
  return message.replaceAll('--', '-');
}

/** The flags and positionals of a command. @throws UsageError that begins with its name and ends with its usage */
export function parseCommand<Options extends ParseArgsOptionsConfig>(
  argv: readonly string[],
  command: { readonly name: string; readonly options: Options; readonly usage: string },
) {
  try {
    const { options } = command;
    return parseArgs({ args: withLongFlags(argv), options, strict: true, allowPositionals: true });
  } catch (error) {
    throw new UsageError(`${command.name}: ${argumentsRefusal(error)}\n${command.usage}`);
  }
}
