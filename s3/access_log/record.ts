/** What a line of an access log tells. Undefined is written as `-`. */
export interface AccessRecord {
  readonly ownerId: string;
  readonly bucket: string;
  /** Milliseconds since 1970. */
  readonly atMs: number;
  readonly remoteAddress: string | undefined;
  /** Canonical id of an account, or the ARN of a user. */
  readonly requester: string | undefined;
  readonly requestId: string;
  /** `REST.GET.OBJECT` */
  readonly operation: string;
  readonly key: string | undefined;
  /** `GET /bucket/key?versionId=...` as it stood in the request line; without credentials. */
  readonly request: string | undefined;
  readonly status: number;
  readonly errorCode: string | undefined;
  readonly sentBytes: number | undefined;
  readonly objectBytes: number | undefined;
  readonly durationMs: number | undefined;
  readonly referer: string | undefined;
  readonly userAgent: string | undefined;
  readonly versionId: string | undefined;
  readonly hostId: string | undefined;
  readonly signature: 'SigV4' | undefined;
  readonly authentication: 'AuthHeader' | 'QueryString' | undefined;
  readonly host: string | undefined;
  /** It was allowed by an ACL and by nothing else. */
  readonly aclRequired: boolean;
}

/**
 * One line of a bucket's access log, in the order of S3's fields; what is never known here is `-`.
 * https://docs.aws.amazon.com/AmazonS3/latest/userguide/LogFormat.html
 */
export function recordLine(record: AccessRecord): string {
  const fields = [
    word(record.ownerId),
    word(record.bucket),
    `[${logTime(record.atMs)}]`,
    word(record.remoteAddress),
    word(record.requester),
    word(record.requestId),
    word(record.operation),
    word(record.key === undefined ? undefined : encodedKey(record.key)),
    quoted(record.request),
    String(record.status),
    word(record.errorCode),
    count(record.sentBytes),
    count(record.objectBytes),
    record.durationMs === undefined ? '-' : String(Math.round(record.durationMs)),
    '-',
    quoted(record.referer),
    quoted(record.userAgent),
    word(record.versionId),
    word(record.hostId),
    word(record.signature),
    '-',
    word(record.authentication),
    word(record.host),
    '-',
    '-',
    record.aclRequired ? 'Yes' : '-',
  ];
  return `${fields.join(' ')}\n`;
}

/** The day of a record: `2026-02-06`. */
export function recordDay(record: AccessRecord): string {
  return new Date(record.atMs).toISOString().slice(0, 10);
}

function encodedKey(key: string): string {
  return encodeURIComponent(key.toWellFormed()).replaceAll('%2F', '/');
}

function count(bytes: number | undefined): string {
  return bytes === undefined || bytes === 0 ? '-' : String(bytes);
}

function quoted(text: string | undefined): string {
  return text === undefined || text === '' ? '"-"' : `"${escaped(text).replaceAll('"', '%22')}"`;
}

/** A field without quotes: nothing that a client sends begins another one. */
function word(text: string | undefined): string {
  return text === undefined || text === ''
    ? '-'
    : escaped(text).replaceAll(' ', '%20').replaceAll('"', '%22');
}

/** Nothing that a client sends begins a new line, for whatever reader of lines. */
function escaped(text: string): string {
  return text.replace(/[\u0000-\u001f\u007f\u0085\u2028\u2029]/g, encodeURIComponent);
}

const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'] as const;

/** `06/Feb/2026:00:00:38 +0000` */
function logTime(timeMs: number): string {
  const iso = new Date(timeMs).toISOString();
  const month = months[Number(iso.slice(5, 7)) - 1] ?? '';
  return `${iso.slice(8, 10)}/${month}/${iso.slice(0, 4)}:${iso.slice(11, 19)} +0000`;
}
