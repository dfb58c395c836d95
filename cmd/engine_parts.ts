import type { Registry } from 'prom-client';
import type { EngineOptions } from '../backend/engine/engine.ts';
import type { Config } from './config/config.ts';
import type { Logger } from './logger.ts';
import { notificationParts } from './notifications.ts';
import { quotaParts, type ReadUsages } from './quotas.ts';

/** What watches and follows up the changes of objects, of whichever backend. */
export function engineParts(
  config: Config,
  options: { readonly logger: Logger; readonly registry: Registry; readonly holder: string },
): {
  readonly observing: Required<Pick<EngineOptions, 'observers' | 'workers'>>;
  readonly usages: ReadUsages;
} {
  const notifications = notificationParts(config, options);
  const { usages, ...quotas } = quotaParts(options);
  return {
    usages,
    observing: {
      observers: [...notifications.observers, ...quotas.observers],
      workers: [...notifications.workers, ...quotas.workers],
    },
  };
}
