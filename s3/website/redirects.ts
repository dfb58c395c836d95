import { encodeForListing } from '../http/percent.ts';
import type { RoutingRule, WebsiteConfiguration } from './configuration.ts';

interface WebsiteRequest {
  readonly scheme: string;
  readonly host: string;
  readonly key: string;
}

/** Where a request goes instead, and with which status. */
export interface Redirect {
  readonly location: string;
  readonly status: number;
}

/** Of all requests, or by the first rule that looks at the key alone. */
export function redirectBefore(website: WebsiteConfiguration, request: WebsiteRequest): Redirect | undefined {
  const { redirectAll } = website;
  if (redirectAll !== undefined) {
    const scheme = redirectAll.protocol ?? request.scheme;
    return { status: 301, location: `${scheme}://${redirectAll.hostName}/${encodeForListing(request.key)}` };
  }
  const rule = website.rules.find((each) => each.errorStatus === undefined && hasPrefix(each, request.key));
  return rule === undefined ? undefined : redirectBy(rule, request);
}

/** By the first rule that looks at the status of the answer that would be given. */
export function redirectAfter(
  website: WebsiteConfiguration,
  request: WebsiteRequest & { readonly status: number },
): Redirect | undefined {
  const rule = website.rules.find(
    (each) => each.errorStatus === request.status && hasPrefix(each, request.key),
  );
  return rule === undefined ? undefined : redirectBy(rule, request);
}

function hasPrefix(rule: RoutingRule, key: string): boolean {
  return key.startsWith(rule.keyPrefix ?? '');
}

function redirectBy(rule: RoutingRule, request: WebsiteRequest): Redirect {
  let { key } = request;
  if (rule.replaceKeyWith !== undefined) key = rule.replaceKeyWith;
  else if (rule.replaceKeyPrefixWith !== undefined) {
    key = rule.replaceKeyPrefixWith + key.slice((rule.keyPrefix ?? '').length);
  }
  const scheme = rule.protocol ?? request.scheme;
  return {
    status: rule.status,
    location: `${scheme}://${rule.hostName ?? request.host}/${encodeForListing(key)}`,
  };
}
