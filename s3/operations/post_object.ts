import { authenticateForm, type FormFields } from '../../auth/form.ts';
import { decodePayload } from '../../auth/payload.ts';
import { S3Error } from '../errors.ts';
import type { Call, Caller } from '../exchange.ts';
import { quoted } from '../http/answer_headers.ts';
import { RequestHeaders } from '../http/headers.ts';
import { formBoundary, FormReader, type FormPart } from '../http/multipart_form.ts';
import { encodeForListing } from '../http/percent.ts';
import { emptyReply, type Reply, xmlReply } from '../http/reply.ts';
import type { Operation } from '../operation.ts';
import { formBody } from '../request/object_body.ts';
import { objectLocation } from '../request/object_location.ts';
import { checkPostPolicy, parsePostPolicy } from '../request/post_policy.ts';
import { checkKey } from '../resource.ts';
import { readXml } from '../xml/read.ts';
import { element, parent, xmlDeclaration } from '../xml/write.ts';
import { storeObject } from './put_object.ts';

/** All fields before the file: S3's own limit. */
const maxFieldsBytes = 20 * 1024;
const maxFields = 100;

/** Fields that become headers of the same name. */
const headerFields: ReadonlySet<string> = new Set([
  'cache-control',
  'content-disposition',
  'content-encoding',
  'content-language',
  'content-type',
  'expires',
]);

/**
 * An upload from a form in a browser.
 * https://docs.aws.amazon.com/AmazonS3/latest/API/RESTObjectPOST.html
 */
export const postObject: Operation = {
  name: 'PostObject',
  async handle(call) {
    const boundary = formBoundary(call.headers.get('content-type'));
    if (boundary === undefined) {
      throw new S3Error(
        'PreconditionFailed',
        'Bucket POST must be of the enclosure-type multipart/form-data',
      );
    }
    if (call.caller.kind === 'signed') {
      throw new S3Error('InvalidArgument', 'A form is signed by its fields, not by its request.');
    }
    const form = new FormReader(decodePayload(call.body, call.payload).stream, boundary);
    try {
      return await upload(call, await readFields(form));
    } finally {
      await form.close();
    }
  },
};

interface Form {
  readonly fields: FormFields;
  readonly file: FormPart;
}

/** Reads up to the file; S3 ignores whatever stands behind it. */
async function readFields(form: FormReader): Promise<Form> {
  const fields = new Map<string, string>();
  let sizeBytes = 0;
  for (;;) {
    const part = await form.next();
    if (part === undefined) {
      throw invalid('file', 'POST requires exactly one file upload per request.');
    }
    const name = part.name.toLowerCase();
    if (name === 'file') return { fields, file: part };
    const pieces: Uint8Array[] = [];
    sizeBytes += name.length;
    for await (const piece of part.body) {
      sizeBytes += piece.length;
      if (sizeBytes > maxFieldsBytes) throw new S3Error('MaxPostPreDataLengthExceeded');
      pieces.push(Buffer.from(piece));
    }
    if (fields.size >= maxFields) throw new S3Error('MaxPostPreDataLengthExceeded');
    if (fields.has(name)) throw invalid(name, `POST requires exactly one field '${name}'.`);
    fields.set(name, Buffer.concat(pieces).toString('utf8'));
  }
}

async function upload(call: Call, form: Form): Promise<Reply> {
  const { file } = form;
  const fields = withFilename(form);
  const key = fields.get('key');
  if (key === undefined || key === '') {
    throw invalid(
      'key',
      "Bucket POST must contain a field named 'key'. If it is specified, please check the order of the fields.",
    );
  }
  checkKey(key);
  const { credentials, region, clock } = call.services;
  const signed = await authenticateForm(form.fields, { credentials, region });
  let range = { minBytes: 0, maxBytes: Infinity };
  let caller: Caller = { kind: 'anonymous' };
  if (signed !== undefined) {
    const policy = parsePostPolicy(signed.policy);
    checkPostPolicy(policy, new Map([...fields, ['bucket', call.bucket]]), clock());
    const { minBytes, maxBytes } = policy;
    range = { minBytes, maxBytes };
    const { credential, signedAtMs } = signed;
    const owner = { id: credential.accountId, displayName: credential.displayName };
    caller = { kind: 'signed', credential, owner, presigned: false, authType: 'POST', signedAtMs };
  }
  const posted: Call = { ...call, key, caller, headers: objectHeaders(call.headers, fields) };
  const stored = await storeObject(posted, () => formBody(posted, { stream: file.body, ...range }));
  return answer(posted, fields, stored);
}

/** `${filename}` in any field stands for the name of the file, without the directories that some clients send. */
function withFilename({ fields, file }: Form): FormFields {
  const filename = (file.filename ?? '').replace(/^.*[/\\]/s, '');
  return new Map([...fields].map(([name, value]) => [name, value.replaceAll('${filename}', () => filename)]));
}

/** The headers that an upload by PutObject would have had. */
function objectHeaders(request: RequestHeaders, fields: FormFields): RequestHeaders {
  const headers = new Map<string, readonly string[]>();
  for (const [name, values] of request.map) {
    if (!/^(?:content-|x-amz-|if-|expect$|transfer-encoding$|expires$|cache-control$)/.test(name)) {
      headers.set(name, values);
    }
  }
  for (const [name, value] of fields) {
    const amz =
      name.startsWith('x-amz-') &&
      !/^x-amz-(?:algorithm|credential|date|signature|security-token)$/.test(name);
    if (!amz && !headerFields.has(name)) continue;
    if (/[\u0000-\u0008\u000a-\u001f\u007f]/.test(value)) {
      throw invalid(name, 'Header values must not contain control characters.');
    }
    // One character a byte, as headers come.
    headers.set(name, [Buffer.from(value, 'utf8').toString('latin1')]);
  }
  const acl = fields.get('acl');
  if (acl !== undefined) headers.set('x-amz-acl', [acl]);
  const tagging = fields.get('tagging');
  if (tagging !== undefined) headers.set('x-amz-tagging', [taggingHeader(tagging)]);
  return new RequestHeaders(headers);
}

/** The form gives tags as XML, the header as a query. @throws S3Error MalformedXML */
function taggingHeader(xml: string): string {
  const sets = readXml(Buffer.from(xml, 'utf8'), 'Tagging').all('TagSet');
  const tags = sets.flatMap((set) => set.all('Tag'));
  return tags
    .map(
      (tag) =>
        `${encodeURIComponent(tag.requiredText('Key'))}=${encodeURIComponent(tag.text('Value') ?? '')}`,
    )
    .join('&');
}

function answer(
  call: Call,
  fields: FormFields,
  stored: { readonly etag: string; readonly headers: Record<string, string> },
): Reply {
  const location = objectLocation(call);
  const headers = { ...stored.headers, location };
  const redirect = redirection(fields.get('success_action_redirect') ?? fields.get('redirect'));
  if (redirect !== undefined) {
    const etag = encodeURIComponent(quoted(stored.etag));
    const query = `bucket=${encodeURIComponent(call.bucket)}&key=${encodeForListing(call.key)}&etag=${etag}`;
    const separator = redirect.includes('?') ? '&' : '?';
    return emptyReply(303, { ...headers, location: `${redirect}${separator}${query}` });
  }
  const status = fields.get('success_action_status');
  if (status !== '201') return emptyReply(status === '200' ? 200 : 204, headers);
  const document = parent(
    'PostResponse',
    element('Location', location),
    element('Bucket', call.bucket),
    element('Key', call.key),
    element('ETag', quoted(stored.etag)),
  );
  return { ...xmlReply('', { status: 201, headers }), body: xmlDeclaration + document };
}

/** What isn't a URL of the web is ignored, as S3 does. It stays as it was written: clients compare it. */
function redirection(text: string | undefined): string | undefined {
  if (text === undefined || !/^https?:\/\/[\x21-\x7e]+$/i.test(text) || text.includes('#')) return undefined;
  return URL.canParse(text) ? text : undefined;
}

function invalid(name: string, message: string): S3Error {
  return new S3Error('InvalidArgument', message, { ArgumentName: name });
}
