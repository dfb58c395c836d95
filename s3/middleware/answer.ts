import type { IncomingMessage, ServerResponse } from 'node:http';
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import type { Context } from 'hono';
import { errorReply, wireCode } from '../error_reply.ts';
import { isRefusal, refusalOf } from '../errors.ts';
import type { Exchange, S3Env, Services } from '../exchange.ts';
import type { Reply, ReplyStream } from '../http/reply.ts';
import { ClientGoneError, writeReply } from '../http/send.ts';
import { discardRest } from '../http/linger.ts';

/** What every answer says about where it comes from. */
interface AnswerOptions {
  readonly services: Services;
  /** `x-amz-id-2`: tells this process from others. */
  readonly hostId: string;
}

/** Carries replies to the client, and makes replies of errors. */
export class Answerer {
  readonly #services: Services;
  readonly #hostId: string;

  constructor(options: AnswerOptions) {
    this.#services = options.services;
    this.#hostId = options.hostId;
  }

  /**
   * Sends the reply: straight to the node:http response where there is one (less work than a web stream, and the only
   * way to break a connection whose body can't be finished), else as a Response.
   */
  async answer(c: Context<S3Env>, reply: Reply): Promise<Response> {
    const exchange = c.get('exchange');
    exchange.status = reply.status;
    exchange.answer = reply.headers;
    Object.assign(reply.headers, exchange.answerHeaders);
    reply.headers['x-amz-request-id'] = exchange.requestId;
    reply.headers['x-amz-id-2'] = this.#hostId;
    reply.headers['server'] = 's3d';
    const { incoming, outgoing } = c.env;
    if (incoming === undefined || outgoing === undefined) return this.#respond(exchange, reply);
    const reusable = this.#willBeRead(exchange, incoming);
    if (c.env.draining?.() === true || !reusable) reply.headers['connection'] = 'close';
    await this.#write(exchange, { incoming, outgoing, reply, reusable });
    return RESPONSE_ALREADY_SENT;
  }

  /** For `app.onError`: an error before the answer began is answered, one after it breaks the connection. */
  async answerError(c: Context<S3Env>, error: unknown): Promise<Response> {
    const exchange = c.get('exchange');
    const { outgoing } = c.env;
    if (error instanceof ClientGoneError || (exchange.signal.aborted && outgoing?.destroyed === true)) {
      this.#giveUp(exchange, outgoing);
      return RESPONSE_ALREADY_SENT;
    }
    if (!isRefusal(error)) {
      this.#services.logger.error(
        { requestId: exchange.requestId, operation: exchange.operation, err: error },
        'a request failed unexpectedly',
      );
    }
    if (outgoing?.headersSent === true) {
      this.#giveUp(exchange, outgoing);
      return RESPONSE_ALREADY_SENT;
    }
    const refusal = refusalOf(error);
    exchange.errorCode = wireCode(refusal.code);
    const reply = errorReply(refusal, {
      resource: resourceText(exchange),
      requestId: exchange.requestId,
      head: exchange.method === 'HEAD',
    });
    try {
      return await this.answer(c, reply);
    } catch (failure) {
      if (!(failure instanceof ClientGoneError)) throw failure;
      this.#giveUp(exchange, outgoing);
      return RESPONSE_ALREADY_SENT;
    }
  }

  /**
   * The connection of a request whose body is still coming stays open until that was read, or for a while: also where
   * the connection ends with the answer, since ending it earlier would reset it under the answer.
   */
  async #write(
    exchange: Exchange,
    answer: {
      readonly incoming: IncomingMessage;
      readonly outgoing: ServerResponse;
      readonly reply: Reply;
      readonly reusable: boolean;
    },
  ): Promise<void> {
    const { incoming, outgoing, reply, reusable } = answer;
    const { limits } = this.#services;
    exchange.sentBytes = await writeReply(outgoing, reply, {
      head: exchange.method === 'HEAD',
      pace: limits.pace,
      end: reusable,
    });
    settle(exchange);
    if (incoming.complete) return;
    if (exchange.expectsContinue && !exchange.body.started) {
      // Nobody sends what was never asked for.
      outgoing.end();
      return;
    }
    const cameToItsEnd = await discardRest(incoming, limits);
    if (!reusable) outgoing.end();
    else if (!cameToItsEnd) incoming.socket.destroy();
  }

  /**
   * Whether the rest of the request's body will come and be read, so that the connection can be used again. A body that
   * waits for `100 Continue` won't come, and a long one isn't worth reading.
   */
  #willBeRead(exchange: Exchange, incoming: IncomingMessage): boolean {
    if (incoming.complete) return true;
    if (exchange.expectsContinue && !exchange.body.started) return false;
    const length = exchange.headers.get('content-length');
    return (
      length !== undefined &&
      Number(length) - exchange.body.receivedBytes <= this.#services.limits.lingerBytes
    );
  }

  #giveUp(exchange: Exchange, outgoing: ServerResponse | undefined): void {
    exchange.broken = true;
    if (exchange.status === 0) exchange.status = 499;
    outgoing?.destroy();
    settle(exchange);
  }

  #respond(exchange: Exchange, reply: Reply): Response {
    reply.headers['date'] = new Date(this.#services.clock()).toUTCString();
    const { body } = reply;
    const head = exchange.method === 'HEAD';
    if (body === undefined || typeof body === 'string' || head) {
      const text = head ? undefined : body;
      exchange.sentBytes = typeof text === 'string' ? Buffer.byteLength(text) : 0;
      if (!head && reply.status !== 204 && reply.status !== 304) {
        reply.headers['content-length'] = String(exchange.sentBytes);
      }
      settle(exchange);
      return new Response(typeof text === 'string' ? text : null, {
        status: reply.status,
        headers: reply.headers,
      });
    }
    if (body.sizeBytes !== undefined) reply.headers['content-length'] = String(body.sizeBytes);
    return new Response(webStream(exchange, body), { status: reply.status, headers: reply.headers });
  }
}

/** 499: the client was gone before there was an answer; seen only in logs and metrics. */
function settle(exchange: Exchange): void {
  for (const done of exchange.onSettled.splice(0)) done();
}

function webStream(exchange: Exchange, body: ReplyStream): ReadableStream<Uint8Array> {
  const iterator = body.stream[Symbol.asyncIterator]();
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const result = await iterator.next();
          if (result.done !== true) {
            exchange.sentBytes += result.value.length;
            controller.enqueue(result.value);
            return;
          }
          if (body.sizeBytes !== undefined && exchange.sentBytes !== body.sizeBytes) {
            throw new Error(`A body of ${body.sizeBytes} bytes ended after ${exchange.sentBytes}.`);
          }
          settle(exchange);
          controller.close();
        } catch (error) {
          exchange.broken = true;
          settle(exchange);
          controller.error(error);
        }
      },
      async cancel() {
        exchange.broken = true;
        settle(exchange);
        await iterator.return?.();
      },
    },
    { highWaterMark: 0 },
  );
}

function resourceText(exchange: Exchange): string {
  const { resource } = exchange;
  if (resource === undefined) return exchange.target.rawPath;
  if (resource.level === 'service') return '/';
  return resource.level === 'bucket' ? `/${resource.bucket}` : `/${resource.bucket}/${resource.key}`;
}
