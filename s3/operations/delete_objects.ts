import type { DeleteObjectRequest, ObjectDeleted } from '../../backend/backend.ts';
import { authorize, authorizeAnyPart } from '../authorization.ts';
import { errorTable, isRefusal, refusalOf, S3Error, type Refusal } from '../errors.ts';
import type { Call } from '../exchange.ts';
import { xmlReply } from '../http/reply.ts';
import type { Operation } from '../operation.ts';
import { originOf } from '../request/origin.ts';
import { given } from '../request/parameters.ts';
import { httpDate, parseETags } from '../request/preconditions.ts';
import { readXmlBody } from '../request/xml_body.ts';
import { checkKey } from '../resource.ts';
import { readXml, type XmlElement } from '../xml/read.ts';
import { element, parent, root } from '../xml/write.ts';
import { bypass } from './object_lock.ts';
import { wireCode } from '../error_reply.ts';

/** 1,000 keys of 1,024 bytes, some of them escaped. */
const maxXmlBytes = 2 * 1024 ** 2;
const maxKeys = 1000;

interface Target {
  readonly key: string;
  readonly versionId?: string;
  readonly preconditions?: NonNullable<DeleteObjectRequest['preconditions']>;
}

type Outcome = { readonly deleted: ObjectDeleted } | { readonly refusal: Refusal };

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html */
export const deleteObjects: Operation = {
  name: 'DeleteObjects',
  async handle(call) {
    // Whether a key may be deleted is answered key by key; here only that any may.
    await call.services.backend.headBucket({
      bucket: call.bucket,
      authorize: authorizeAnyPart(call, 's3:DeleteObject'),
      signal: call.signal,
    });
    const request = readXml(
      await readXmlBody(call, { maxBytes: maxXmlBytes, digestRequired: true }),
      'Delete',
    );
    const targets = request.all('Object').map(readTarget);
    if (targets.length === 0 || targets.length > maxKeys) throw new S3Error('MalformedXML');
    const quiet = request.text('Quiet')?.trim().toLowerCase() === 'true';
    const outcomes = await deleteAll(call, targets);
    call.access.deletions = targets.map((target, at) => noteOf(target, outcomes[at]));
    const items = targets.map((target, at) => outcomeElement(target, outcomes[at], quiet));
    return xmlReply(root('DeleteResult', ...items));
  },
};

function readTarget(object: XmlElement): Target {
  const eTag = object.text('ETag');
  const timeText = object.text('LastModifiedTime');
  const lastModifiedMs = httpDate(timeText);
  const sizeText = object.text('Size');
  if (timeText !== undefined && lastModifiedMs === undefined) throw new S3Error('MalformedXML');
  if (sizeText !== undefined && !/^\d{1,15}$/.test(sizeText)) throw new S3Error('MalformedXML');
  const conditional = eTag !== undefined || lastModifiedMs !== undefined || sizeText !== undefined;
  const versionId = object.text('VersionId');
  return {
    key: object.requiredText('Key'),
    ...given('versionId', versionId === '' ? undefined : versionId),
    ...(conditional
      ? {
          preconditions: {
            ...given('ifMatch', eTag === undefined ? undefined : parseETags(eTag)),
            ...given('lastModifiedMs', lastModifiedMs),
            ...given('sizeBytes', sizeText === undefined ? undefined : Number(sizeText)),
          },
        }
      : {}),
  };
}

/**
 * Deletes a few keys at a time, versions of one key after another (they would only get in each other's way); the
 * outcomes are in the order of the targets.
 */
async function deleteAll(call: Call, targets: readonly Target[]): Promise<Outcome[]> {
  const outcomes: Outcome[] = new Array<Outcome>(targets.length);
  const placesOf = new Map<string, number[]>();
  for (const [at, { key }] of targets.entries()) {
    const places = placesOf.get(key);
    if (places === undefined) placesOf.set(key, [at]);
    else places.push(at);
  }
  const waiting = placesOf.values();
  async function work(): Promise<void> {
    for (const places of waiting) {
      for (const at of places) {
        const target = targets[at];
        if (target !== undefined) outcomes[at] = await deleteOne(call, target);
      }
    }
  }
  const workers = Math.min(call.services.limits.deleteConcurrency, placesOf.size);
  await Promise.all(Array.from({ length: workers }, work));
  return outcomes;
}

async function deleteOne(call: Call, target: Target): Promise<Outcome> {
  try {
    if (target.key === '') throw new S3Error('MalformedXML');
    checkKey(target.key);
    const deleted = await call.services.backend.deleteObject({
      bucket: call.bucket,
      ...target,
      ...bypass(call),
      authorize: authorize(
        call,
        target.versionId === undefined ? 's3:DeleteObject' : 's3:DeleteObjectVersion',
        { key: target.key, versionId: target.versionId },
      ),
      origin: originOf(call),
      signal: call.signal,
    });
    return { deleted };
  } catch (error) {
    if (!isRefusal(error)) {
      call.services.logger.error(
        { requestId: call.requestId, key: target.key, err: error },
        'a deletion failed',
      );
    }
    return { refusal: refusalOf(error) };
  }
}

function noteOf(target: Target, outcome: Outcome | undefined) {
  const { key, versionId } = target;
  if (outcome === undefined || !('refusal' in outcome)) {
    const made = outcome?.deleted.versionId;
    return { key, versionId: versionId ?? made, status: 204, errorCode: undefined };
  }
  const { code } = outcome.refusal;
  return { key, versionId, status: errorTable[code].status, errorCode: wireCode(code) };
}

function outcomeElement(target: Target, outcome: Outcome | undefined, quiet: boolean): string {
  if (outcome === undefined) throw new Error('A deletion has no outcome.');
  const { key, versionId } = target;
  if ('refusal' in outcome) {
    return parent(
      'Error',
      element('Key', key),
      element('VersionId', versionId),
      element('Code', wireCode(outcome.refusal.code)),
      element('Message', outcome.refusal.message),
    );
  }
  if (quiet) return '';
  const { deleted } = outcome;
  return parent(
    'Deleted',
    element('Key', key),
    element('VersionId', versionId),
    deleted.deleteMarker === true
      ? element('DeleteMarker', true) + element('DeleteMarkerVersionId', deleted.versionId)
      : '',
  );
}
