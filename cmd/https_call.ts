import assert from 'node:assert/strict';
import { request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import aws4 from 'aws4';
import { UsageError } from './errors.ts';

const callMs = 30_000;

export interface SignedCall {
  readonly url: URL;
  readonly method: string;
  readonly path: string;
  /** Sent as JSON. */
  readonly body?: object | undefined;
  readonly service: string;
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** PEM; nothing else is trusted. Every call over https has one. */
  readonly ca: string | undefined;
}

/**
 * One signed call of a command to an admin listener. @returns the parsed JSON of the answer
 * @throws UsageError with what the listener says, or that it can't be reached
 */
export async function callAdmin(call: SignedCall): Promise<unknown> {
  const { url, method, path, body, service, region, accessKeyId, secretAccessKey } = call;
  const text = body === undefined ? '' : JSON.stringify(body);
  const signed = aws4.sign(
    {
      host: url.host,
      path,
      method,
      service,
      region,
      ...(text === '' ? {} : { body: text, headers: { 'content-type': 'application/json' } }),
    },
    { accessKeyId, secretAccessKey },
  );
  const { status, answer } = await exchange(call, {
    text,
    headers: (signed.headers ?? {}) as Record<string, string>,
  });
  let parsed: unknown;
  try {
    parsed = JSON.parse(answer);
  } catch {
    throw new UsageError(`${url.href}: answered ${status} and something that is not JSON`);
  }
  if (status >= 400) {
    const { message } = parsed as { readonly message?: string };
    throw new UsageError(`${message ?? answer} (${status})`);
  }
  return parsed;
}

async function exchange(
  call: SignedCall,
  sent: { readonly text: string; readonly headers: Record<string, string> },
): Promise<{ readonly status: number; readonly answer: string }> {
  const { url, method, path, ca } = call;
  const secure = url.protocol === 'https:';
  assert(!secure || ca !== undefined, 'a call over https names whom it trusts');
  return new Promise((resolve, reject) => {
    const outgoing = (secure ? requestHttps : requestHttp)(
      url,
      { method, path, headers: sent.headers, timeout: callMs, agent: false, ...(secure ? { ca } : {}) },
      (response) => {
        let answer = '';
        response.setEncoding('utf8').on('data', (chunk: string) => (answer += chunk));
        response.on('end', () => resolve({ status: response.statusCode ?? 0, answer }));
        response.on('error', reject);
      },
    );
    outgoing.on('timeout', () => outgoing.destroy(new Error(`no answer in ${callMs} ms`)));
    outgoing.on('error', (error) =>
      reject(new UsageError(`the admin listener at ${url.href} can't be reached: ${error.message}`)),
    );
    outgoing.end(sent.text);
  });
}
