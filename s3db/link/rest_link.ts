import { ClientEndpoint, type Answer as HttpAnswer, type Call } from '../client_endpoint.ts';
import type { ScanRequest } from '../database.ts';
import { InvalidRequestError, StorageFullError, UnknownOutcomeError } from '../errors.ts';
import { asBuffer } from '../key_bytes.ts';
import { formatRequestId } from '../request_id.ts';
import { binaryBatchType, binaryPageType, decodePage } from '../rest/binary_page.ts';
import { toHex } from '../rest/json_batch.ts';
import type { Answer, DatabaseCall, Reply, ReplicaLink } from './replica_link.ts';

/** A replica over its public REST service. */
export class RestLink implements ReplicaLink {
  readonly #endpoint: ClientEndpoint;

  constructor(endpoint: ClientEndpoint) {
    this.#endpoint = endpoint;
  }

  get name(): string {
    return this.#endpoint.name;
  }

  async send(
    call: DatabaseCall,
    options: { readonly timeoutMs: number; readonly signal: AbortSignal },
  ): Promise<Answer> {
    const request = toHttp(call);
    const headers = { ...request.headers, 'x-s3db-timeout-ms': String(options.timeoutMs) };
    const answer = await this.#endpoint.send({ ...request, headers }, options.signal);
    return { reply: toReply(call, answer), leader: answer.leader };
  }

  async close(): Promise<void> {
    await this.#endpoint.close();
  }
}

function toHttp(call: DatabaseCall): Call {
  switch (call.kind) {
    case 'get': {
      const stale = call.stale ? '?consistency=stale' : '';
      return { method: 'GET', path: `/v1/get/${call.table}/${toHex(call.key)}${stale}`, headers: {} };
    }
    case 'scan':
      return { method: 'GET', path: scanPath(call.request, call.stale), headers: { accept: binaryPageType } };
    case 'batch': {
      const headers = { 'content-type': binaryBatchType, 'x-request-id': formatRequestId(call.requestId) };
      return { method: 'POST', path: '/v1/batch', headers, body: asBuffer(call.body) };
    }
  }
}

function scanPath({ table, prefix, startAfter, delimiter, limit }: ScanRequest, stale: boolean): string {
  // In the order of the alphabet, in which they are signed.
  const query = [
    ...(stale ? ['consistency=stale'] : []),
    ...(delimiter === undefined ? [] : [`delimiter=${toHex(delimiter)}`]),
    `limit=${limit}`,
    `prefix=${toHex(prefix)}`,
    ...(startAfter === undefined ? [] : [`start_after=${toHex(startAfter)}`]),
  ];
  return `/v1/scan/${table}?${query.join('&')}`;
}

/** Not implemented, and no space: another replica would answer the same. */
const finalStatuses: ReadonlySet<number> = new Set([501, 507]);

function toReply(call: DatabaseCall, answer: HttpAnswer): Reply {
  const { status, body } = answer;
  if (status >= 500 && !finalStatuses.has(status)) {
    return { kind: 'retry', mayBeApplied: status !== 503, reason: `${status} ${messageOf(answer)}` };
  }
  switch (call.kind) {
    case 'get':
      if (status === 404) return { kind: 'value', value: undefined };
      if (status === 200) return { kind: 'value', value: body };
      break;
    case 'scan':
      if (status === 200) return { kind: 'page', page: decodePage(body) };
      break;
    case 'batch': {
      const { index, condition } = parseJson(answer);
      if (status === 200 && typeof index === 'number') return { kind: 'applied', index };
      if (status === 412 && typeof condition === 'number') return { kind: 'conditionFailed', condition };
      break;
    }
  }
  return { kind: 'refused', error: refusal(answer) };
}

/** An answer below 500 that isn't what was hoped for. */
function refusal(answer: HttpAnswer): Error {
  const message = messageOf(answer);
  if (answer.status === 507) return new StorageFullError(message);
  if (answer.status === 409) {
    return new UnknownOutcomeError(`the request id is too old to know what became of the write: ${message}`);
  }
  return new InvalidRequestError(`${answer.status}: ${message}`);
}

function messageOf(answer: HttpAnswer): string {
  const json = parseJson(answer);
  const text = json['message'];
  return typeof text === 'string' ? text : `status ${answer.status}`;
}

function parseJson(answer: HttpAnswer): Readonly<Record<string, unknown>> {
  try {
    const json: unknown = JSON.parse(asBuffer(answer.body).toString('utf8'));
    return typeof json === 'object' && json !== null ? (json as Readonly<Record<string, unknown>>) : {};
  } catch (error) {
    if (error instanceof SyntaxError) return {};
    throw error;
  }
}
