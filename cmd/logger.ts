import { destination, pino } from 'pino';
import type { LogLevel } from './flags.ts';

/** What the parts log through: fields first, as pino has it. Injected everywhere, so that no part chooses a sink. */
export interface Logger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** Names under which a secret could slip into a log line. */
const secretFields = [
  'secretAccessKey',
  'secret_access_key',
  'secret',
  'authorization',
  'headers.authorization',
];

/** JSON lines on stderr; stdout is for what a person or a script waits for (`s3d ready ...`). */
export function openLogger(level: LogLevel): Logger & { flush(): void } {
  const sink = destination({ dest: 2, sync: false, minLength: 0 });
  const logger = pino(
    {
      level,
      base: null,
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: secretFields, censor: '[secret]' },
    },
    sink,
  );
  return Object.assign(logger, { flush: () => sink.flushSync() });
}
