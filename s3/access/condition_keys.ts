import type { ConditionValues } from '../../auth/bucket_policy/conditions.ts';
import type { Bucket, ExistingObject } from '../../backend/backend.ts';
import type { Call } from '../exchange.ts';
import { decodeForm } from '../http/percent.ts';
import { isRoot, principalArn } from './identity.ts';

/** What one question to a policy is about, beside the call. */
export interface ConditionSubject {
  readonly bucket: Bucket;
  readonly object: (ExistingObject & { readonly tags?: ReadonlyMap<string, string> }) | undefined;
  readonly versionId: string | undefined;
  /** For listings; where a missing key asks whether it may be told, the key. */
  readonly prefix: string | undefined;
  /** That the request gives an object. */
  readonly requestTags: () => ReadonlyMap<string, string>;
}

type Read = (call: Call, subject: ConditionSubject) => string | undefined;

const header =
  (name: string): Read =>
  (call) =>
    call.headers.get(name);
const query =
  (name: string): Read =>
  (call) =>
    call.query.get(name);

/** Headers that are condition keys under their own names, behind `s3:`. */
const headerKeys = [
  'x-amz-acl',
  'x-amz-content-sha256',
  'x-amz-grant-full-control',
  'x-amz-grant-read',
  'x-amz-grant-read-acp',
  'x-amz-grant-write',
  'x-amz-grant-write-acp',
  'x-amz-metadata-directive',
  'x-amz-object-ownership',
  'x-amz-server-side-encryption',
  'x-amz-server-side-encryption-aws-kms-key-id',
  'x-amz-server-side-encryption-customer-algorithm',
  'x-amz-storage-class',
  'x-amz-website-redirect-location',
  'if-match',
  'if-none-match',
] as const;

const single: ReadonlyMap<string, Read> = new Map<string, Read>([
  ['aws:sourceip', (call) => call.remoteAddress],
  ['aws:securetransport', (call) => String(call.scheme === 'https')],
  ['aws:referer', header('referer')],
  ['aws:useragent', header('user-agent')],
  ['aws:currenttime', (call) => new Date(call.services.clock()).toISOString()],
  ['aws:epochtime', (call) => String(Math.floor(call.services.clock() / 1000))],
  ['aws:principalarn', (call) => arnOf(call)],
  ['aws:principalaccount', (call) => signed(call)?.credential.accountId],
  ['aws:principaltype', (call) => principalType(call)],
  ['aws:userid', (call) => signed(call)?.credential.accessKeyId],
  ['aws:username', (call) => signed(call)?.credential.displayName],
  ['aws:requestedregion', (call) => call.services.region],
  ['aws:resourceaccount', (_, { bucket }) => bucket.owner.id],
  ['s3:resourceaccount', (_, { bucket }) => bucket.owner.id],
  ['s3:prefix', (_, { prefix }) => prefix],
  ['s3:delimiter', query('delimiter')],
  ['s3:max-keys', query('max-keys')],
  ['s3:versionid', (_, { versionId }) => versionId],
  ['s3:authtype', (call) => signed(call)?.authType],
  ['s3:signatureversion', (call) => (signed(call) === undefined ? undefined : 'AWS4-HMAC-SHA256')],
  ['s3:signatureage', (call) => signatureAgeMs(call)],
  ['s3:x-amz-copy-source', (call) => copySourcePath(call)],
  ['s3:object-lock-mode', header('x-amz-object-lock-mode')],
  ['s3:object-lock-retain-until-date', header('x-amz-object-lock-retain-until-date')],
  ['s3:object-lock-legal-hold', header('x-amz-object-lock-legal-hold')],
  ['s3:object-lock-remaining-retention-days', (call) => remainingRetentionDays(call)],
  ...headerKeys.map((name) => [`s3:${name}`, header(name)] as const),
]);

/** Global keys of AWS about what doesn't exist here. They are accepted, and no request has them. */
const alwaysAbsent: ReadonlySet<string> = new Set(
  [
    'calledvia calledviafirst calledvialast federatedprovider fipsrequest multifactorauthage multifactorauthpresent',
    'principalisawsservice principalorgid principalorgpaths principalservicename principalservicenameslist',
    'resourceorgid resourceorgpaths sourceaccount sourcearn sourceidentity sourceorgid sourceorgpaths sourceowner',
    'sourcevpc sourcevpce tokenissuetime viaawsservice vpcsourceip',
  ].flatMap((names) => names.split(' ').map((name) => `aws:${name}`)),
);

const existingTag = 's3:existingobjecttag/';
const requestTag = 's3:requestobjecttag/';
const principalTag = 'aws:principaltag/';
const requestTagKeys = 's3:requestobjecttagkeys';

/** Whether a condition key, in lower case, means anything here. */
export function isKnownConditionKey(key: string): boolean {
  return (
    single.has(key) ||
    alwaysAbsent.has(key) ||
    key === requestTagKeys ||
    [existingTag, requestTag, principalTag].some(
      (prefix) => key.startsWith(prefix) && key.length > prefix.length,
    )
  );
}

/** What the request says under condition keys. */
export function conditionValues(call: Call, subject: ConditionSubject): ConditionValues {
  return (key) => {
    const read = single.get(key);
    if (read !== undefined) return listed(read(call, subject));
    if (key === requestTagKeys) {
      const keys = [...subject.requestTags().keys()];
      return keys.length === 0 ? undefined : keys;
    }
    if (key.startsWith(existingTag)) return tagsCalled(subject.object?.tags, key.slice(existingTag.length));
    if (key.startsWith(requestTag)) return tagsCalled(subject.requestTags(), key.slice(requestTag.length));
    return undefined;
  };
}

function listed(value: string | undefined): readonly string[] | undefined {
  return value === undefined ? undefined : [value];
}

/** Condition keys have no case, and so tags are looked up without. */
function tagsCalled(
  tags: ReadonlyMap<string, string> | undefined,
  name: string,
): readonly string[] | undefined {
  if (tags === undefined) return undefined;
  const values = [...tags].filter(([key]) => key.toLowerCase() === name).map(([, value]) => value);
  return values.length === 0 ? undefined : values;
}

function signed(call: Call): Extract<Call['caller'], { kind: 'signed' }> | undefined {
  return call.caller.kind === 'signed' ? call.caller : undefined;
}

function arnOf(call: Call): string | undefined {
  const caller = signed(call);
  return caller === undefined ? undefined : principalArn(caller.credential);
}

function principalType(call: Call): string {
  const credential = signed(call)?.credential;
  if (credential === undefined) return 'Anonymous';
  return isRoot(credential) ? 'Account' : 'User';
}

/** Milliseconds since the request was signed. */
function signatureAgeMs(call: Call): string | undefined {
  const caller = signed(call);
  return caller === undefined
    ? undefined
    : String(Math.max(0, Math.floor(call.services.clock() - caller.signedAtMs)));
}

/** `bucket/key`, decoded, without the version. */
function copySourcePath(call: Call): string | undefined {
  const text = call.headers.get('x-amz-copy-source');
  if (text === undefined) return undefined;
  return decodeForm(text.split('?versionId=')[0] ?? '').replace(/^\//, '');
}

function remainingRetentionDays(call: Call): string | undefined {
  const untilMs = Date.parse(call.headers.get('x-amz-object-lock-retain-until-date') ?? '');
  if (Number.isNaN(untilMs)) return undefined;
  return String(Math.ceil((untilMs - call.services.clock()) / 86_400_000));
}
