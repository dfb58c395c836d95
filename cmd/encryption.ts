import { KeyringError } from '../backend/encryption/errors.ts';
import { readKeyring, type KeySource } from '../backend/encryption/key_source.ts';
import type { Engine, EngineOptions } from '../backend/engine/engine.ts';
import type { Config } from './config/config.ts';
import type { ProcessContext } from './context.ts';
import { UsageError } from './errors.ts';

type Protection = Pick<EngineOptions, 'encryption' | 'compressionLevel'>;

/** What the engine is told of `[encryption]` and `[compression]`. */
export function protectionOptions(context: ProcessContext): Protection {
  const { config } = context;
  const source = keySource(config);
  return {
    ...(source === undefined
      ? {}
      : {
          encryption: {
            readKeyring: () => readKeyring(source),
            atRest: config.encryption.at_rest,
            onRefused: context.fatal,
          },
        }),
    ...(config.compression.algorithm === 'none' ? {} : { compressionLevel: config.compression.level }),
  };
}

/**
 * Opens the engine, and has SIGHUP read the keys again.
 * @throws UsageError for keys that can't be used.
 */
export async function openWithKeys(context: ProcessContext, open: () => Promise<Engine>): Promise<Engine> {
  const source = keySource(context.config);
  try {
    const engine = await open();
    if (source !== undefined) context.onReload('encryption keys', () => engine.reloadKeys());
    return engine;
  } catch (error) {
    if (!(error instanceof KeyringError)) throw error;
    const name = source !== undefined && 'file' in source ? 'key_file' : 'key_command';
    throw new UsageError(`${context.config.file}: encryption.${name}: ${error.message}`);
  }
}

function keySource(config: Config): KeySource | undefined {
  const { key_file: file, key_command: command } = config.encryption;
  if (file !== '') return { file };
  const [program, ...args] = command;
  return program === undefined ? undefined : { command: [program, ...args] };
}
