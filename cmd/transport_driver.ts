import type { Config } from './config/config.ts';
import { UsageError } from './errors.ts';

/** The driver that the config names. */
export function transportDriver(config: Config): 'auto' | 'http3' | 'http2' {
  const { driver } = config.transport;
  if (driver === 'webtransport')
    throw new UsageError("transport.driver: 'webtransport' is not available in this version");
  return driver;
}

/**
 * The driver for the lanes of the database. `auto` means HTTP/2 here: Raft's messages are small and each waits for the one
 * before, and a message over TCP takes about half the CPU of one over QUIC, whose strengths (no head-of-line blocking,
 * recovery from loss) are those of the large transfers between gateways and shard nodes.
 */
export function databaseDriver(config: Config): 'http3' | 'http2' {
  const driver = transportDriver(config);
  return driver === 'auto' ? 'http2' : driver;
}
