import type { Batch, Database, ReadOptions, ScanPage, ScanRequest, WriteOptions } from './database.ts';
import { ConditionFailedError, InvalidRequestError, UnknownOutcomeError } from './errors.ts';
import { mintRequestId, parseRequestId } from './request_id.ts';
import type { DatabaseService } from './rest/service.ts';

const defaultDeadlineMs = 5000;

/** `Database` over a replica in the same process. */
export class MemberDatabase implements Database {
  readonly #service: DatabaseService;

  constructor(service: DatabaseService) {
    this.#service = service;
  }

  async get(table: string, key: Uint8Array, options: ReadOptions = {}): Promise<Uint8Array | undefined> {
    return abortable(options.signal, () => this.#service.get(table, key, readRequest(options)));
  }

  async scan(request: ScanRequest, options: ReadOptions = {}): Promise<ScanPage> {
    return abortable(options.signal, () => this.#service.scan(request, readRequest(options)));
  }

  async batch(batch: Batch, options: WriteOptions = {}): Promise<{ readonly index: number }> {
    options.signal?.throwIfAborted();
    const requestId =
      options.requestId === undefined ? mintRequestId(Date.now()) : parseRequestId(options.requestId);
    if (requestId === undefined) throw new InvalidRequestError('requestId must be a UUIDv7');
    const timeoutMs = options.deadlineMs ?? defaultDeadlineMs;
    // Once it is under way a write is waited for: only its outcome says whether it was applied.
    const outcome = await this.#service.write(batch, { requestId, timeoutMs });
    switch (outcome.kind) {
      case 'applied':
        return { index: outcome.index };
      case 'conditionFailed':
        throw new ConditionFailedError(outcome.condition);
      case 'expired':
        throw new UnknownOutcomeError('the request id is too old to know what became of it');
      case 'fromTheFuture':
        throw new InvalidRequestError('the request id was minted by a clock more than an hour ahead');
      case 'idReused':
        throw new InvalidRequestError('the request id belongs to another batch');
    }
  }

  async close(): Promise<void> {
    // The replica is its composer's to close.
  }
}

function readRequest(options: ReadOptions): { readonly stale: boolean; readonly timeoutMs: number } {
  return { stale: options.consistency === 'stale', timeoutMs: options.deadlineMs ?? defaultDeadlineMs };
}

/** Rejects with the signal's reason as soon as it says so; what was begun goes on unheard. */
async function abortable<T>(signal: AbortSignal | undefined, run: () => Promise<T>): Promise<T> {
  if (signal === undefined) return run();
  signal.throwIfAborted();
  const running = run();
  let onAbort: (() => void) | undefined;
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () =>
      reject(signal.reason instanceof Error ? signal.reason : new Error('the call was given up'));
    signal.addEventListener('abort', onAbort);
  });
  try {
    return await Promise.race([running, aborted]);
  } finally {
    if (onAbort !== undefined) signal.removeEventListener('abort', onAbort);
    // Given up, it goes on to its own deadline; who gave it up has been told why.
    running.catch(() => undefined);
  }
}
