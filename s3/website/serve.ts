import type { ObjectHead } from '../../backend/backend.ts';
import { BackendError } from '../../backend/errors.ts';
import { errorReply, wireCode } from '../error_reply.ts';
import { errorTable, isRefusal, refusalOf, S3Error, type Refusal } from '../errors.ts';
import type { Call } from '../exchange.ts';
import { answeredBytes, objectHeaders } from '../http/answer_headers.ts';
import { encodeForListing } from '../http/percent.ts';
import { Query } from '../http/query.ts';
import type { Reply } from '../http/reply.ts';
import type { Operation } from '../operation.ts';
import { readObject } from '../request/read_request.ts';
import { escapeXml } from '../xml/write.ts';
import { websiteOf, type WebsiteConfiguration } from './configuration.ts';
import { redirectAfter, redirectBefore, type Redirect } from './redirects.ts';

/**
 * A bucket as a website: pages for browsers. Nobody signs in here, so what anyone may read is all there is.
 * https://docs.aws.amazon.com/AmazonS3/latest/userguide/WebsiteEndpoints.html
 */
export const serveWebsite: Operation = {
  name: 'WebsiteGetObject',
  async handle(call) {
    const anyone: Call = { ...call, caller: { kind: 'anonymous' } };
    let website: WebsiteConfiguration | undefined;
    try {
      if (call.method !== 'GET' && call.method !== 'HEAD') {
        throw new S3Error('MethodNotAllowed', '', { Method: call.method, ResourceType: 'OBJECT' });
      }
      website = await configurationOf(anyone);
      const redirect = redirectBefore(website, placeOf(anyone));
      return redirect === undefined ? await page(anyone, website) : redirectReply(redirect);
    } catch (error) {
      if (!isRefusal(error)) throw error;
      return refused(anyone, website, refusalOf(error));
    }
  },
};

async function configurationOf(call: Call): Promise<WebsiteConfiguration> {
  const bucket = await call.services.backend.headBucket({
    bucket: call.bucket,
    authorize: () => undefined,
    signal: call.signal,
  });
  const setting = bucket.settings.get('website');
  if (setting === undefined) throw new S3Error('NoSuchWebsiteConfiguration', '', { BucketName: call.bucket });
  return websiteOf(setting);
}

function placeOf(call: Call): { scheme: string; host: string; key: string } {
  return { scheme: call.scheme, host: call.headers.get('host') ?? '', key: call.key };
}

/** The object, or of what looks like a directory its index. */
async function page(call: Call, website: WebsiteConfiguration): Promise<Reply> {
  const { key } = call;
  const index = website.indexSuffix ?? '';
  if (key === '' || key.endsWith('/')) return document(call, { key: key + index, status: 200 });
  try {
    return await document(call, { key, status: 200 });
  } catch (error) {
    const missing =
      error instanceof BackendError && (error.code === 'NoSuchKey' || error.code === 'AccessDenied');
    const hidden = error instanceof S3Error && error.code === 'AccessDenied';
    if ((missing || hidden) && (await isThere(call, `${key}/${index}`))) {
      return redirectReply({
        status: 302,
        location: `${call.scheme}://${placeOf(call).host}/${encodeForListing(key)}/`,
      });
    }
    throw error;
  }
}

async function isThere(call: Call, key: string): Promise<boolean> {
  try {
    await readObject(withKey(call, key), (request) => call.services.backend.headObject(request));
    return true;
  } catch (error) {
    if (isRefusal(error)) return false;
    throw error;
  }
}

type FoundPage = ObjectHead & { readonly body?: AsyncIterable<Uint8Array> };

async function document(
  call: Call,
  wanted: { readonly key: string; readonly status: number },
): Promise<Reply> {
  const { backend } = call.services;
  const asked = withKey(call, wanted.key);
  const object: FoundPage = await readObject<FoundPage>(asked, (request) =>
    call.method === 'HEAD' ? backend.headObject(request) : backend.getObject(request),
  );
  const location = object.metadata.system.websiteRedirectLocation;
  if (location !== undefined && wanted.status === 200) {
    await object.body?.[Symbol.asyncIterator]().return?.();
    return redirectReply({ status: 301, location });
  }
  const headers = objectHeaders(object, { checksum: false, part: false });
  delete headers['x-amz-website-redirect-location'];
  const status = wanted.status === 200 && object.range !== undefined ? 206 : wanted.status;
  const sizeBytes = answeredBytes(object);
  if (object.body === undefined) {
    headers['content-length'] = String(sizeBytes);
    return { status, headers };
  }
  return { status, headers, body: { stream: object.body, sizeBytes } };
}

/** What a page's address says behind a question mark is for the page, not for the store. */
function withKey(call: Call, key: string): Call {
  return { ...call, key, query: Query.empty };
}

/** A rule for this status, the bucket's own error document, or a plain page. */
async function refused(
  call: Call,
  website: WebsiteConfiguration | undefined,
  refusal: Refusal,
): Promise<Reply> {
  const { status } = errorTable[refusal.code];
  if (status === 304 || status === 416) {
    return errorReply(refusal, { resource: '', requestId: call.requestId, head: true });
  }
  const redirect = website === undefined ? undefined : redirectAfter(website, { ...placeOf(call), status });
  if (redirect !== undefined) return redirectReply(redirect);
  if (website?.errorKey !== undefined) {
    try {
      const whole: Call = { ...call, headers: call.headers.without(conditional) };
      return await document(whole, { key: website.errorKey, status });
    } catch (error) {
      if (!isRefusal(error)) throw error;
      // The page below says what was wrong in the first place.
    }
  }
  return errorPage(call, refusal);
}

/** An error document is sent whole, whatever was asked about the page that isn't there. */
const conditional: readonly string[] = [
  'range',
  'if-range',
  'if-match',
  'if-none-match',
  'if-modified-since',
  'if-unmodified-since',
];

function errorPage(call: Call, refusal: Refusal): Reply {
  const { status, message } = errorTable[refusal.code];
  const lines = [
    ['Code', wireCode(refusal.code)],
    ['Message', refusal.message === '' ? message : refusal.message],
    ['RequestId', call.requestId],
  ].map(([name = '', value = '']) => `<li>${name}: ${escapeXml(value)}</li>`);
  const title = `${status} ${escapeXml(wireCode(refusal.code))}`;
  const headers = { 'content-type': 'text/html; charset=utf-8' };
  if (call.method === 'HEAD') return { status, headers };
  return {
    status,
    headers,
    body: `<!doctype html><html><head><title>${title}</title></head><body><h1>${title}</h1><ul>${lines.join('')}</ul></body></html>\n`,
  };
}

function redirectReply({ status, location }: Redirect): Reply {
  return { status, headers: { location, 'content-length': '0' } };
}
