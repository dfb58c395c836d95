import type { ObjectLock, Retention } from '../../backend/backend.ts';
import { S3Error } from '../errors.ts';
import type { RequestHeaders } from '../http/headers.ts';
import { given, invalidArgument } from './parameters.ts';

const modeHeader = 'x-amz-object-lock-mode';
const untilHeader = 'x-amz-object-lock-retain-until-date';
const holdHeader = 'x-amz-object-lock-legal-hold';
const iso8601 = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:Z|[+-]\d{2}:\d{2})$/;

/**
 * The lock that a new version is to have.
 * @returns undefined where the request says nothing of it.
 * @throws S3Error InvalidArgument
 */
export function lockHeaders(headers: RequestHeaders): ObjectLock | undefined {
  const modeText = headers.get(modeHeader);
  const untilText = headers.get(untilHeader);
  const holdText = headers.get(holdHeader);
  if (modeText === undefined && untilText === undefined && holdText === undefined) return undefined;
  if ((modeText === undefined) !== (untilText === undefined)) {
    throw new S3Error('InvalidArgument', `${untilHeader} and ${modeHeader} must both be supplied`);
  }
  return {
    ...given('retention', retentionOf(modeText, untilText)),
    ...given('legalHold', holdText === undefined ? undefined : legalHoldOf(holdText)),
  };
}

function retentionOf(modeText: string | undefined, untilText: string | undefined): Retention | undefined {
  if (modeText === undefined || untilText === undefined) return undefined;
  const mode = parseMode(modeText);
  if (mode === undefined) throw invalidArgument(modeHeader, modeText, 'Unknown wormMode directive.');
  const untilMs = parseUntil(untilText);
  if (untilMs === undefined) {
    throw invalidArgument(
      untilHeader,
      untilText,
      'The retain until date must be provided in ISO 8601 format',
    );
  }
  return { mode, untilMs };
}

function legalHoldOf(text: string): boolean {
  if (text !== 'ON' && text !== 'OFF') {
    throw invalidArgument(holdHeader, text, 'Legal Hold must be either of ON or OFF');
  }
  return text === 'ON';
}

export function parseMode(text: string): Retention['mode'] | undefined {
  return text === 'GOVERNANCE' || text === 'COMPLIANCE' ? text : undefined;
}

/** Milliseconds since 1970; undefined for what isn't a time in ISO 8601. */
export function parseUntil(text: string): number | undefined {
  const untilMs = iso8601.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(untilMs) ? undefined : untilMs;
}

export function asksForBypass(headers: RequestHeaders): boolean {
  return headers.get('x-amz-bypass-governance-retention')?.toLowerCase() === 'true';
}

/** Headers of an answer that tell the lock of a version. */
export function writeLock(lock: ObjectLock | undefined, headers: Record<string, string>): void {
  if (lock === undefined) return;
  if (lock.retention !== undefined) {
    headers[modeHeader] = lock.retention.mode;
    headers[untilHeader] = new Date(lock.retention.untilMs).toISOString();
  }
  if (lock.legalHold !== undefined) headers[holdHeader] = lock.legalHold ? 'ON' : 'OFF';
}
