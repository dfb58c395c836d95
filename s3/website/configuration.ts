import { S3Error } from '../errors.ts';
import { given } from '../request/parameters.ts';
import { readXml, type XmlElement } from '../xml/read.ts';
import { element, parent, root } from '../xml/write.ts';

/** The `website` setting of a bucket, as JSON. Either redirects everything or has an index document. */
export interface WebsiteConfiguration {
  readonly redirectAll?: { readonly hostName: string; readonly protocol?: Protocol };
  readonly indexSuffix?: string;
  readonly errorKey?: string;
  readonly rules: readonly RoutingRule[];
}

type Protocol = 'http' | 'https';

export interface RoutingRule {
  readonly keyPrefix?: string;
  /** 400 to 599. */
  readonly errorStatus?: number;
  readonly protocol?: Protocol;
  readonly hostName?: string;
  readonly replaceKeyPrefixWith?: string;
  readonly replaceKeyWith?: string;
  /** 301 to 308. */
  readonly status: number;
}

const maxRules = 50;
const maxKeyBytes = 1024;

/** @returns the text of the setting. @throws S3Error MalformedXML, InvalidArgument, InvalidRequest */
export function readWebsiteConfiguration(xml: Uint8Array): string {
  const document = readXml(xml, 'WebsiteConfiguration');
  onlyElements(document, ['RedirectAllRequestsTo', 'IndexDocument', 'ErrorDocument', 'RoutingRules']);
  const redirectAll = optionalChild(document, 'RedirectAllRequestsTo');
  if (redirectAll !== undefined) {
    if (document.names.length > 1) {
      throw invalid('RedirectAllRequestsTo cannot be provided in conjunction with other Routing Rules.');
    }
    const hostName = checkedHost(redirectAll.requiredText('HostName'));
    const configuration: WebsiteConfiguration = {
      redirectAll: { hostName, ...given('protocol', protocolOf(redirectAll.text('Protocol'))) },
      rules: [],
    };
    return JSON.stringify(configuration);
  }
  const indexSuffix = optionalChild(document, 'IndexDocument')?.requiredText('Suffix');
  if (indexSuffix === undefined) throw invalid('A value for IndexDocument Suffix must be provided.');
  if (indexSuffix === '' || indexSuffix.includes('/')) {
    throw invalid('The IndexDocument Suffix is not well formed');
  }
  const errorKey = optionalChild(document, 'ErrorDocument')?.requiredText('Key');
  if (errorKey === '') throw invalid('The ErrorDocument Key is not well formed');
  for (const key of [indexSuffix, errorKey ?? '']) {
    if (Buffer.byteLength(key) > maxKeyBytes) throw new S3Error('KeyTooLongError');
  }
  const rules = (optionalChild(document, 'RoutingRules')?.all('RoutingRule') ?? []).map(readRule);
  if (rules.length > maxRules) {
    throw new S3Error('InvalidRequest', `${maxRules} routing rules are allowed in a website configuration.`);
  }
  const configuration: WebsiteConfiguration = { indexSuffix, ...given('errorKey', errorKey), rules };
  return JSON.stringify(configuration);
}

function readRule(rule: XmlElement): RoutingRule {
  onlyElements(rule, ['Condition', 'Redirect']);
  const condition = optionalChild(rule, 'Condition');
  const redirect = optionalChild(rule, 'Redirect');
  if (redirect === undefined) throw new S3Error('MalformedXML');
  const keyPrefix = condition?.text('KeyPrefixEquals');
  const errorStatus = statusOf(condition?.text('HttpErrorCodeReturnedEquals'), /^[45]\d\d$/);
  if (condition !== undefined && keyPrefix === undefined && errorStatus === undefined) {
    throw new S3Error('InvalidRequest', 'Condition cannot be empty.');
  }
  onlyElements(redirect, [
    'Protocol',
    'HostName',
    'ReplaceKeyPrefixWith',
    'ReplaceKeyWith',
    'HttpRedirectCode',
  ]);
  if (redirect.names.length === 0) throw new S3Error('InvalidRequest', 'Redirect cannot be empty.');
  const replaceKeyPrefixWith = redirect.text('ReplaceKeyPrefixWith');
  const replaceKeyWith = redirect.text('ReplaceKeyWith');
  if (replaceKeyPrefixWith !== undefined && replaceKeyWith !== undefined) {
    throw new S3Error('InvalidRequest', 'You can only define ReplaceKeyPrefix or ReplaceKey but not both.');
  }
  const hostName = redirect.text('HostName');
  return {
    ...given('keyPrefix', keyPrefix),
    ...given('errorStatus', errorStatus),
    ...given('protocol', protocolOf(redirect.text('Protocol'))),
    ...given('hostName', hostName === undefined ? undefined : checkedHost(hostName)),
    ...given('replaceKeyPrefixWith', replaceKeyPrefixWith),
    ...given('replaceKeyWith', replaceKeyWith),
    status: statusOf(redirect.text('HttpRedirectCode'), /^30[1-8]$/) ?? 301,
  };
}

function optionalChild(element: XmlElement, name: string): XmlElement | undefined {
  const children = element.all(name);
  if (children.length > 1) throw new S3Error('MalformedXML');
  return children[0];
}

function onlyElements(element: XmlElement, known: readonly string[]): void {
  if (element.names.some((name) => !known.includes(name))) throw new S3Error('MalformedXML');
}

function statusOf(text: string | undefined, allowed: RegExp): number | undefined {
  if (text === undefined) return undefined;
  if (!allowed.test(text.trim())) {
    throw new S3Error('InvalidRequest', `The provided HTTP code (${text}) is not valid.`);
  }
  return Number(text);
}

function protocolOf(text: string | undefined): Protocol | undefined {
  if (text === undefined || text === 'http' || text === 'https') return text;
  throw new S3Error('InvalidRequest', 'Invalid protocol, protocol can be http or https.');
}

/** A host, which may be followed by a port and (as S3 lets it) a path. */
function checkedHost(text: string): string {
  if (/^[A-Za-z0-9._[\]:-]{1,300}(?:\/[\x21-\x7e]*)?$/.test(text)) return text;
  throw invalid('The HostName is not well formed');
}

function invalid(message: string): S3Error {
  return new S3Error('InvalidArgument', message);
}

export function websiteOf(setting: string): WebsiteConfiguration {
  return JSON.parse(setting) as WebsiteConfiguration;
}

/** The setting as S3 gives it back. */
export function websiteXml(setting: string): string {
  const { redirectAll, indexSuffix, errorKey, rules } = websiteOf(setting);
  return root(
    'WebsiteConfiguration',
    redirectAll === undefined
      ? ''
      : parent(
          'RedirectAllRequestsTo',
          element('HostName', redirectAll.hostName),
          element('Protocol', redirectAll.protocol),
        ),
    indexSuffix === undefined ? '' : parent('IndexDocument', element('Suffix', indexSuffix)),
    errorKey === undefined ? '' : parent('ErrorDocument', element('Key', errorKey)),
    rules.length === 0 ? '' : parent('RoutingRules', ...rules.map(ruleXml)),
  );
}

function ruleXml(rule: RoutingRule): string {
  const conditional = rule.keyPrefix !== undefined || rule.errorStatus !== undefined;
  return parent(
    'RoutingRule',
    conditional
      ? parent(
          'Condition',
          element('KeyPrefixEquals', rule.keyPrefix),
          element('HttpErrorCodeReturnedEquals', rule.errorStatus),
        )
      : '',
    parent(
      'Redirect',
      element('Protocol', rule.protocol),
      element('HostName', rule.hostName),
      element('ReplaceKeyPrefixWith', rule.replaceKeyPrefixWith),
      element('ReplaceKeyWith', rule.replaceKeyWith),
      element('HttpRedirectCode', rule.status),
    ),
  );
}
