import type { HttpBindings } from '@hono/node-server';
import { Hono } from 'hono';
import { MalformedBytesError } from '../../wal/byte_codec.ts';
import { decodeBatch, UnknownCommandError } from '../command.ts';
import type { Batch, ScanRequest } from '../database.ts';
import { InvalidRequestError } from '../errors.ts';
import { maxBatchBytes } from '../level_tables.ts';
import { checkAddress } from '../member_table.ts';
import type { Logger } from '../logger.ts';
import { mintRequestId, parseRequestId } from '../request_id.ts';
import type { Outcome } from '../request_memory.ts';
import { checkWritable } from '../reserved_tables.ts';
import { Answers, type RestContext as Call } from './answers.ts';
import { ApiError, statusOf, toApiError } from './api_error.ts';
import { binaryBatchType, binaryPageType, encodePage } from './binary_page.ts';
import { batchFromJson, fromHex, pageToJson } from './json_batch.ts';
import type { DatabaseService, ReadRequest } from './service.ts';
import { authenticatedBody, type Authenticator } from './signed_body.ts';

export interface AppOptions {
  readonly service: DatabaseService;
  readonly authenticator: Authenticator;
  readonly logger: Logger;
}

type Bindings = { Bindings: HttpBindings };

/** A caller may ask for less or more by `X-S3db-Timeout-Ms`. */
const defaultTimeoutMs = 5000;
const maxTimeoutMs = 30_000;
const maxBodyBytes = 8 * 1024 * 1024;
/** The binary form has a few bytes for each item beside keys and values, which have a limit of their own. */
const maxBinaryBodyBytes = maxBatchBytes + 1024 * 1024;
const retryAfterSeconds = '1';

/**
 * The REST service. Order matters only in that `/health` comes before the check of signatures; every other path is
 * answered only to who signs.
 */
export function databaseApp(options: AppOptions): Hono<Bindings> {
  const { service, authenticator, logger } = options;
  const app = new Hono<Bindings>();
  const answers = new Answers(() => service.leaderAddress());
  const signedBody = (c: Call, maxBytes = maxBodyBytes): Promise<Buffer> =>
    authenticatedBody(c.env.incoming, { authenticator, maxBytes, timeoutMs: maxTimeoutMs });
  const signed = (c: Call): Promise<Buffer> => signedBody(c, 64 * 1024);

  const write = async (c: Call, batch: Batch): Promise<Response> => {
    checkWritable(batch);
    const outcome = await service.write(batch, { requestId: requestIdOf(c), timeoutMs: timeoutOf(c) });
    return answers.json(c, { index: appliedIndex(outcome) });
  };

  app.get('/health', (c) => {
    const healthy = service.healthy();
    return answers.json(c, { status: healthy ? 'ok' : 'no leader' }, { status: healthy ? 200 : 503 });
  });
  app.get('/status', async (c) => {
    await signed(c);
    return answers.json(c, service.status());
  });
  app.get('/metrics', async (c) => {
    await signed(c);
    const { contentType, text } = await service.metrics();
    return answers.bytes(c, Buffer.from(text), contentType);
  });
  app.get('/v1/leader', async (c) => {
    await signed(c);
    return answers.json(c, await service.leader(queryTimeout(c, 1000)));
  });
  app.on('GET', keyPaths('/v1/get'), async (c) => {
    await signed(c);
    const value = await service.get(tableOf(c), keyOf(c), readRequest(c));
    if (value === undefined) throw new ApiError('NotFound', 'there is no such key');
    return answers.bytes(c, value, 'application/octet-stream');
  });
  app.on('POST', keyPaths('/v1/put'), async (c) => {
    const value = await signedBody(c);
    const table = tableOf(c);
    return write(c, { conditions: [], operations: [{ type: 'put', table, key: keyOf(c), value }] });
  });
  app.on('DELETE', keyPaths('/v1/delete'), async (c) => {
    await signed(c);
    const table = tableOf(c);
    return write(c, { conditions: [], operations: [{ type: 'delete', table, key: keyOf(c) }] });
  });
  app.post('/v1/batch', async (c) => {
    const binary = c.env.incoming.headers['content-type'] === binaryBatchType;
    const body = await signedBody(c, binary ? maxBinaryBodyBytes : maxBodyBytes);
    return write(c, binary ? binaryBatch(body) : batchFromJson(body.toString('utf8')));
  });
  app.get('/v1/scan/:table', async (c) => {
    await signed(c);
    const page = await service.scan(scanRequest(c), readRequest(c));
    if (c.env.incoming.headers.accept === binaryPageType) {
      return answers.bytes(c, encodePage(page), binaryPageType);
    }
    return answers.json(c, pageToJson(page));
  });
  app.post('/v1/transfer', async (c) => {
    await service.transfer(memberId(await signedBody(c)), timeoutOf(c));
    return answers.json(c, {});
  });
  app.post('/v1/leave', async (c) => {
    await service.leave(memberId(await signedBody(c)), timeoutOf(c));
    return answers.json(c, {});
  });
  app.post('/v1/join', async (c) => {
    const json = jsonBody(await signedBody(c));
    const { raft_port: raftPort, ...rest } = json;
    const port = Number(json['port']);
    await service.join(checkAddress({ ...rest, raftPort: raftPort ?? port + 1000 }), timeoutOf(c));
    return answers.json(c, {});
  });
  app.post('/v1/snapshot', async (c) => {
    await signed(c);
    return answers.json(c, await service.snapshot(timeoutOf(c)));
  });
  app.get('/v1/backup', async (c) => {
    await signed(c);
    const pieces = await service.backup(timeoutOf(c));
    return c.body(ReadableStream.from(pieces), 200, {
      ...answers.headers,
      'content-type': 'application/x-s3db-backup',
    });
  });
  app.post('/v1/restore/begin', async (c) => {
    const { id } = jsonBody(await signedBody(c));
    return answers.json(c, await service.restoreBegin(restoreId(id), timeoutOf(c)));
  });
  app.post('/v1/restore/part/:id/:number', async (c) => {
    const batch = binaryBatch(await signedBody(c, maxBinaryBodyBytes));
    const number = Number(c.req.param('number'));
    await service.restorePart(restoreId(c.req.param('id')), { number, batch }, timeoutOf(c));
    return answers.json(c, {});
  });
  app.post('/v1/restore/finish', async (c) => {
    const { id, rows, contents } = jsonBody(await signedBody(c));
    const expected = { rows: Number(rows), contents: String(contents) };
    await service.restoreFinish(restoreId(id), expected, timeoutOf(c));
    return answers.json(c, {});
  });
  app.notFound(async (c) => {
    await signed(c);
    throw new ApiError('NotFound', `there is no ${c.req.method} ${c.req.path}`);
  });
  app.onError((error, c) => {
    const known = toApiError(error);
    if (known === undefined) logger.error({ error: error.stack ?? error.message }, 'a request failed');
    const { code, message, details } = known ?? new ApiError('Internal', 'internal error');
    const headers: Record<string, string> = {};
    if (code === 'Unavailable' || code === 'UnknownOutcome') headers['retry-after'] = retryAfterSeconds;
    // What is left of a body that was refused would be taken for the next request.
    if (!c.env.incoming.complete) headers['connection'] = 'close';
    return answers.json(c, { error: code, message, ...details }, { status: statusOf[code], headers });
  });
  return app;
}

function appliedIndex(outcome: Outcome): number {
  switch (outcome.kind) {
    case 'applied':
      return outcome.index;
    case 'conditionFailed':
      throw new ApiError('ConditionFailed', `condition ${outcome.condition} does not hold`, {
        condition: outcome.condition,
      });
    case 'expired':
      throw new ApiError(
        'RequestExpired',
        'the request id is more than ten minutes old: what became of it is forgotten',
      );
    case 'fromTheFuture':
      throw new ApiError('InvalidRequest', 'the request id was minted by a clock more than an hour ahead');
    case 'idReused':
      throw new ApiError('RequestIdReused', 'the request id belongs to another request');
  }
}

function requestIdOf(c: Call): Uint8Array {
  const text = c.env.incoming.headers['x-request-id'];
  if (text === undefined) return mintRequestId(Date.now());
  const id = typeof text === 'string' ? parseRequestId(text) : undefined;
  if (id === undefined) throw new InvalidRequestError('X-Request-Id must be a UUIDv7');
  return id;
}

function timeoutOf(c: Call): number {
  return queryTimeout(c, defaultTimeoutMs);
}

function queryTimeout(c: Call, fallbackMs: number): number {
  const text = c.env.incoming.headers['x-s3db-timeout-ms'];
  if (text === undefined) return fallbackMs;
  const timeoutMs = Number(text);
  if (!Number.isFinite(timeoutMs) || timeoutMs <= 0) {
    throw new InvalidRequestError('X-S3db-Timeout-Ms must be a number of milliseconds');
  }
  return Math.min(timeoutMs, maxTimeoutMs);
}

/** The empty key is a key. */
function keyPaths(base: string): string[] {
  return [`${base}/:table/:key`, `${base}/:table/`, `${base}/:table`];
}

function tableOf(c: Call): string {
  return c.req.param('table') ?? '';
}

function keyOf(c: Call): Uint8Array {
  return fromHex(c.req.param('key') ?? '', 'the key');
}

function readRequest(c: Call): ReadRequest {
  const consistency = c.req.query('consistency') ?? 'linearizable';
  if (consistency !== 'linearizable' && consistency !== 'stale') {
    throw new InvalidRequestError('consistency must be "linearizable" or "stale"');
  }
  return { stale: consistency === 'stale', timeoutMs: timeoutOf(c) };
}

function scanRequest(c: Call): ScanRequest {
  const { prefix, start_after: startAfter, delimiter, limit } = c.req.query();
  return {
    table: tableOf(c),
    prefix: fromHex(prefix ?? '', 'prefix'),
    limit: limit === undefined ? 1000 : Number(limit),
    ...(startAfter === undefined ? {} : { startAfter: fromHex(startAfter, 'start_after') }),
    ...(delimiter === undefined ? {} : { delimiter: fromHex(delimiter, 'delimiter') }),
  };
}

function binaryBatch(body: Buffer): Batch {
  try {
    return decodeBatch(body);
  } catch (error) {
    if (error instanceof MalformedBytesError || error instanceof UnknownCommandError) {
      throw new InvalidRequestError(`not a batch: ${error.message}`, { cause: error });
    }
    throw error;
  }
}

function restoreId(value: unknown): string {
  if (typeof value === 'string' && /^[0-9a-f]{32}$/.test(value)) return value;
  throw new InvalidRequestError('the id of a restore must be 32 hex digits');
}

function memberId(body: Buffer): number {
  const { id } = jsonBody(body);
  if (!Number.isSafeInteger(id)) throw new InvalidRequestError('the body must be {"id": the id of a [[db]]}');
  return Number(id);
}

function jsonBody(body: Buffer): Readonly<Record<string, unknown>> {
  try {
    const json: unknown = JSON.parse(body.toString('utf8'));
    if (typeof json === 'object' && json !== null) return json as Readonly<Record<string, unknown>>;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  throw new InvalidRequestError('the body must be a JSON object');
}
