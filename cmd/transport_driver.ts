import type { Config } from './config/config.ts';
import { UsageError } from './errors.ts';

/** The driver that the config names. */
export function transportDriver(config: Config): 'auto' | 'http3' | 'http2' {
  const { driver } = config.transport;
  if (driver === 'webtransport')
    throw new UsageError("transport.driver: 'webtransport' is not available in this version");
  return driver;
}
