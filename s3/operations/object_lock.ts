import type { Bucket, ObjectLock, Retention } from '../../backend/backend.ts';
import { lockConfigurationOf } from '../../backend/object_lock.ts';
import { authorize } from '../authorization.ts';
import { S3Error } from '../errors.ts';
import type { Call } from '../exchange.ts';
import { emptyReply, xmlReply } from '../http/reply.ts';
import type { Operation } from '../operation.ts';
import { asksForBypass, parseMode, parseUntil } from '../request/object_lock.ts';
import { given, versionId } from '../request/parameters.ts';
import { readXmlBody } from '../request/xml_body.ts';
import { readXml } from '../xml/read.ts';
import { element, root } from '../xml/write.ts';

const maxXmlBytes = 64 * 1024;

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObjectRetention.html */
export const putObjectRetention: Operation = {
  name: 'PutObjectRetention',
  async handle(call) {
    const retention = readRetention(await readXmlBody(call, { maxBytes: maxXmlBytes }));
    await call.services.backend.updateObject({
      ...requestOf(call, 's3:PutObjectRetention'),
      retention,
      ...bypass(call),
    });
    return emptyReply(200);
  },
};

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectRetention.html */
export const getObjectRetention: Operation = {
  name: 'GetObjectRetention',
  async handle(call) {
    const { retention } = await readLock(call, 's3:GetObjectRetention');
    if (retention === undefined) throw new S3Error('NoSuchObjectLockConfiguration');
    return xmlReply(
      root(
        'Retention',
        element('Mode', retention.mode),
        element('RetainUntilDate', new Date(retention.untilMs).toISOString()),
      ),
    );
  },
};

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObjectLegalHold.html */
export const putObjectLegalHold: Operation = {
  name: 'PutObjectLegalHold',
  async handle(call) {
    const xml = readXml(await readXmlBody(call, { maxBytes: maxXmlBytes }), 'LegalHold');
    const status = xml.requiredText('Status').trim();
    if (status !== 'ON' && status !== 'OFF') throw new S3Error('MalformedXML');
    await call.services.backend.updateObject({
      ...requestOf(call, 's3:PutObjectLegalHold'),
      legalHold: status === 'ON',
    });
    return emptyReply(200);
  },
};

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectLegalHold.html */
export const getObjectLegalHold: Operation = {
  name: 'GetObjectLegalHold',
  async handle(call) {
    const { legalHold } = await readLock(call, 's3:GetObjectLegalHold');
    if (legalHold === undefined) throw new S3Error('NoSuchObjectLockConfiguration');
    return xmlReply(root('LegalHold', element('Status', legalHold ? 'ON' : 'OFF')));
  },
};

/** What a caller that asks to pass over GOVERNANCE retention has to be allowed to. */
export function bypass(call: Call) {
  return given(
    'bypassGovernance',
    asksForBypass(call.headers) ? authorize(call, 's3:BypassGovernanceRetention') : undefined,
  );
}

/** An empty document removes the retention. */
function readRetention(xml: Uint8Array): Retention | 'none' {
  const document = readXml(xml, 'Retention');
  const modeText = document.text('Mode')?.trim();
  const untilText = document.text('RetainUntilDate')?.trim();
  if (modeText === undefined && untilText === undefined) return 'none';
  const mode = parseMode(modeText ?? '');
  const untilMs = parseUntil(untilText ?? '');
  if (mode === undefined || untilMs === undefined) throw new S3Error('MalformedXML');
  return { mode, untilMs };
}

async function readLock(call: Call, action: string): Promise<ObjectLock> {
  const request = requestOf(call, action);
  let found: Bucket | undefined;
  const { lock = {} } = await call.services.backend.headObject({
    ...request,
    authorize: (bucket, object) => {
      request.authorize(bucket, object);
      found = bucket;
    },
  });
  if (found === undefined) throw new Error('The backend answered without asking for authorization.');
  if (lockConfigurationOf(found) === undefined) {
    throw new S3Error('InvalidRequest', 'Bucket is missing Object Lock Configuration');
  }
  return lock;
}

function requestOf(call: Call, action: string) {
  return {
    bucket: call.bucket,
    key: call.key,
    authorize: authorize(call, action),
    signal: call.signal,
    ...given('versionId', versionId(call.query)),
  };
}
