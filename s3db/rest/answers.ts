import type { HttpBindings } from '@hono/node-server';
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import type { Context } from 'hono';
import type { OutgoingHttpHeaders } from 'node:http';

export type RestContext = Context<{ Bindings: HttpBindings }>;

/**
 * Writes answers straight to the response of node:http: the fetch API's Response around a few bytes, and reading it again,
 * cost more than a read of the database. Each names the leader that this replica knows.
 */
export class Answers {
  readonly #leaderAddress: () => string | undefined;

  constructor(leaderAddress: () => string | undefined) {
    this.#leaderAddress = leaderAddress;
  }

  get headers(): Record<string, string> {
    const leader = this.#leaderAddress();
    return leader === undefined ? {} : { 'x-s3db-leader': leader };
  }

  json(
    c: RestContext,
    value: unknown,
    extra: { status?: number; headers?: OutgoingHttpHeaders } = {},
  ): Response {
    const { status = 200, headers = {} } = extra;
    const body = Buffer.from(JSON.stringify(value));
    return this.#write(c, { status, headers: { ...headers, 'content-type': 'application/json' }, body });
  }

  bytes(c: RestContext, body: Uint8Array, contentType: string): Response {
    return this.#write(c, { status: 200, headers: { 'content-type': contentType }, body });
  }

  #write(
    c: RestContext,
    answer: { readonly status: number; readonly headers: OutgoingHttpHeaders; readonly body: Uint8Array },
  ): Response {
    const { status, headers, body } = answer;
    const { outgoing } = c.env;
    outgoing.writeHead(status, { ...headers, ...this.headers, 'content-length': body.length });
    outgoing.end(body);
    return RESPONSE_ALREADY_SENT;
  }
}
