import type { Connection, Driver, DriverConnectOptions, Listener } from '../driver.ts';
import { TransportError, messageOf } from '../errors.ts';
import { http2Driver } from './http2.ts';
import { http3Driver, loadHttp3 } from './http3.ts';

/**
 * HTTP/3 where it works, HTTP/2 where it doesn't: a listener takes both on the same port number (HTTP/2 alone where
 * the library can't be loaded), a dialer tries HTTP/3 first and says so when it falls back. A peer that had to fall back
 * tries HTTP/3 again from time to time.
 */
export const autoDriver: Driver = {
  name: 'auto',
  ...(http3Driver.receiveBudget === undefined ? {} : { receiveBudget: http3Driver.receiveBudget }),

  async listen(options, accept): Promise<Listener> {
    try {
      await loadHttp3();
    } catch (error) {
      options.logger?.warn({ reason: messageOf(error) }, 'listening for HTTP/2 only');
      return http2Driver.listen(options, accept);
    }
    return http3Driver.listen(options, accept);
  },

  async connect(options: DriverConnectOptions): Promise<Connection> {
    let reason: unknown;
    try {
      return await http3Driver.connect(options);
    } catch (error) {
      if (!(error instanceof TransportError)) throw error;
      reason = error;
    }
    const connection = await http2Driver.connect(options);
    options.logger?.warn(
      { host: options.host, port: options.port, reason: messageOf(reason) },
      'HTTP/3 failed, connected over HTTP/2',
    );
    return connection;
  },

  better: (via) => (via === http3Driver.name ? undefined : http3Driver),
};
