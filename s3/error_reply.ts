import { errorTable, type Refusal, type S3ErrorCode } from './errors.ts';
import type { Reply } from './http/reply.ts';
import { element, parent, xmlDeclaration } from './xml/write.ts';

/** Details that are headers of the answer instead of elements of the error. */
const headerDetails: Readonly<Record<string, { header: string; value: (text: string) => string }>> = {
  versionId: { header: 'x-amz-version-id', value: (text) => text },
  deleteMarker: { header: 'x-amz-delete-marker', value: (text) => text },
  etag: { header: 'etag', value: (text) => (text.startsWith('"') ? text : `"${text}"`) },
  lastModified: { header: 'last-modified', value: httpTime },
};

const elementName = /^[A-Za-z][\w.-]*$/;

/** Milliseconds since 1970 as an HTTP date; what is one already stays. */
function httpTime(text: string): string {
  return /^\d+$/.test(text) ? new Date(Number(text)).toUTCString() : text;
}

/** What `<Code>` says. */
export function wireCode(code: S3ErrorCode): string {
  return errorTable[code].wireCode ?? code;
}

interface ErrorContext {
  readonly resource: string;
  readonly requestId: string;
}

/** The `<Error>` element. */
export function errorElement(refusal: Refusal, context: ErrorContext): string {
  const details = Object.entries(refusal.details)
    .filter(([name]) => !(name in headerDetails) && elementName.test(name))
    .map(([name, value]) => element(name, value));
  return parent(
    'Error',
    element('Code', wireCode(refusal.code)),
    element('Message', refusal.message === '' ? errorTable[refusal.code].message : refusal.message),
    ...details,
    element('Resource', context.resource),
    element('RequestId', context.requestId),
  );
}

/** The whole answer. HEAD and 304 have no body. */
export function errorReply(refusal: Refusal, context: ErrorContext & { readonly head: boolean }): Reply {
  const { status } = errorTable[refusal.code];
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(refusal.details)) {
    const known = Object.hasOwn(headerDetails, name) ? headerDetails[name] : undefined;
    if (known !== undefined) headers[known.header] = known.value(value);
  }
  if (status === 503) headers['retry-after'] = '1';
  if (refusal.code === 'MethodNotAllowed' && 'deleteMarker' in refusal.details) headers['allow'] = 'DELETE';
  const actualSize = refusal.details['ActualObjectSize'];
  if (status === 416 && actualSize !== undefined) headers['content-range'] = `bytes */${actualSize}`;
  const region = refusal.details['Region'];
  if (region !== undefined) headers['x-amz-bucket-region'] = region;
  if (context.head || status === 304) return { status, headers };
  headers['content-type'] = 'application/xml';
  return { status, headers, body: xmlDeclaration + errorElement(refusal, context) };
}
