import type { Driver } from '../driver.ts';
import { autoDriver } from './auto.ts';
import { http2Driver } from './http2.ts';
import { http3Driver } from './http3.ts';

/** Drivers that a name is enough for; `pipe` needs the network that both sides share. */
export type DriverName = 'auto' | 'http3' | 'http2';

const byName: Readonly<Record<DriverName, Driver>> = {
  auto: autoDriver,
  http3: http3Driver,
  http2: http2Driver,
};

export function selectDriver(driver: DriverName | Driver): Driver {
  return typeof driver === 'string' ? byName[driver] : driver;
}
