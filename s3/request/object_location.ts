import type { Call } from '../exchange.ts';
import { encodeForListing } from '../http/percent.ts';

/** The URL of the object that a call is about, in the style in which it was asked for. */
export function objectLocation(call: Call): string {
  const { domain } = call.services;
  const host = call.headers.get('host') ?? 'localhost';
  const hosted =
    domain !== undefined && domain !== '' && host.toLowerCase().startsWith(`${call.bucket}.${domain}`);
  const path = hosted ? '' : `/${call.bucket}`;
  return `${call.scheme}://${host}${path}/${encodeForListing(call.key)}`;
}
