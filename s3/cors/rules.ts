import { S3Error } from '../errors.ts';
import { given } from '../request/parameters.ts';
import { readXml, type XmlElement } from '../xml/read.ts';
import { element, parent, root } from '../xml/write.ts';

/** One `<CORSRule>`, and the text of the bucket's `cors` setting: an array of them as JSON. */
interface CorsRule {
  readonly id?: string;
  readonly allowedOrigins: readonly string[];
  readonly allowedMethods: readonly string[];
  readonly allowedHeaders: readonly string[];
  readonly exposeHeaders: readonly string[];
  readonly maxAgeSeconds?: number;
}

const maxRules = 100;
const maxIdLength = 255;
const methods: readonly string[] = ['GET', 'PUT', 'HEAD', 'POST', 'DELETE'];

/**
 * Reads a `<CORSConfiguration>`.
 * @returns the text of the setting.
 * @throws S3Error MalformedXML, InvalidRequest
 */
export function readCorsConfiguration(xml: Uint8Array): string {
  const rules = readXml(xml, 'CORSConfiguration').all('CORSRule').map(readRule);
  if (rules.length === 0 || rules.length > maxRules) throw new S3Error('MalformedXML');
  return JSON.stringify(rules);
}

function readRule(rule: XmlElement): CorsRule {
  const known = ['ID', 'AllowedOrigin', 'AllowedMethod', 'AllowedHeader', 'ExposeHeader', 'MaxAgeSeconds'];
  if (rule.names.some((name) => !known.includes(name))) throw new S3Error('MalformedXML');
  const id = rule.text('ID');
  if (id !== undefined && id.length > maxIdLength) throw new S3Error('MalformedXML');
  const allowedOrigins = rule.texts('AllowedOrigin');
  const allowedMethods = rule.texts('AllowedMethod');
  const allowedHeaders = rule.texts('AllowedHeader');
  const exposeHeaders = rule.texts('ExposeHeader');
  if (allowedOrigins.length === 0 || allowedMethods.length === 0) throw new S3Error('MalformedXML');
  for (const method of allowedMethods) {
    if (methods.includes(method)) continue;
    throw invalid(`Found unsupported HTTP method in CORS config. Unsupported method is ${method}`);
  }
  for (const origin of allowedOrigins) checkWildcards('AllowedOrigin', origin);
  for (const header of allowedHeaders) checkWildcards('AllowedHeader', header);
  for (const header of exposeHeaders) {
    if (header.includes('*')) {
      throw invalid(
        `ExposeHeader "${header}" contains wildcard. We currently do not support wildcard for ExposeHeader.`,
      );
    }
    if (!/^[!#$%&'+\-.^_`|~0-9A-Za-z]+$/.test(header))
      throw invalid(`ExposeHeader "${header}" is no header.`);
  }
  return {
    allowedOrigins,
    allowedMethods,
    allowedHeaders,
    exposeHeaders,
    ...given('id', id),
    ...given('maxAgeSeconds', maxAge(rule.text('MaxAgeSeconds'))),
  };
}

function maxAge(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^\d{1,9}$/.test(text.trim())) throw new S3Error('MalformedXML');
  return Number(text);
}

function checkWildcards(name: string, value: string): void {
  if (value.split('*').length > 2) throw invalid(`${name} "${value}" can not have more than one wildcard.`);
}

function invalid(message: string): S3Error {
  return new S3Error('InvalidRequest', message);
}

export function corsRulesOf(setting: string): readonly CorsRule[] {
  return JSON.parse(setting) as readonly CorsRule[];
}

/** The setting as S3 gives it back. */
export function corsConfigurationXml(setting: string): string {
  const rules = corsRulesOf(setting).map((rule) =>
    parent(
      'CORSRule',
      element('ID', rule.id),
      ...rule.allowedMethods.map((method) => element('AllowedMethod', method)),
      ...rule.allowedOrigins.map((origin) => element('AllowedOrigin', origin)),
      ...rule.allowedHeaders.map((header) => element('AllowedHeader', header)),
      ...rule.exposeHeaders.map((header) => element('ExposeHeader', header)),
      element('MaxAgeSeconds', rule.maxAgeSeconds),
    ),
  );
  return root('CORSConfiguration', ...rules);
}

/** What a browser says of a request that crosses origins. */
export interface CrossOriginRequest {
  readonly origin: string;
  readonly method: string;
  /** In lower case; of a preflight. */
  readonly headers: readonly string[];
}

/**
 * The headers that let the browser go on: those of the first rule that allows origin, method and all headers.
 * @returns undefined where no rule does.
 */
export function corsHeaders(
  rules: readonly CorsRule[],
  request: CrossOriginRequest,
): Record<string, string> | undefined {
  for (const rule of rules) {
    const allowedOrigin = rule.allowedOrigins.find((pattern) => matches(pattern, request.origin));
    if (allowedOrigin === undefined || !rule.allowedMethods.includes(request.method)) continue;
    const patterns = rule.allowedHeaders.map((pattern) => pattern.toLowerCase());
    if (!request.headers.every((header) => patterns.some((pattern) => matches(pattern, header)))) continue;
    const any = allowedOrigin === '*';
    return {
      'access-control-allow-origin': any ? '*' : request.origin,
      'access-control-allow-methods': rule.allowedMethods.join(', '),
      ...(request.headers.length === 0 ? {} : { 'access-control-allow-headers': request.headers.join(', ') }),
      ...(rule.exposeHeaders.length === 0
        ? {}
        : { 'access-control-expose-headers': rule.exposeHeaders.join(', ') }),
      ...(rule.maxAgeSeconds === undefined ? {} : { 'access-control-max-age': String(rule.maxAgeSeconds) }),
      ...(any ? {} : { 'access-control-allow-credentials': 'true' }),
      vary: 'Origin, Access-Control-Request-Headers, Access-Control-Request-Method',
    };
  }
  return undefined;
}

/** `*` stands for any characters, at most once in a pattern. */
function matches(pattern: string, text: string): boolean {
  const at = pattern.indexOf('*');
  if (at < 0) return pattern === text;
  const head = pattern.slice(0, at);
  const tail = pattern.slice(at + 1);
  return text.length >= head.length + tail.length && text.startsWith(head) && text.endsWith(tail);
}
