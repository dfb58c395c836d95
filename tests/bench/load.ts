import { randomBytes } from 'node:crypto';
import { request } from 'node:https';
import { Agent } from 'node:https';
import aws4 from 'aws4';
import { testKeys, testRegion } from '../cluster/test_config.ts';

export interface Target {
  readonly urls: readonly string[];
  readonly ca: Buffer;
}

export interface Load {
  readonly method: 'PUT' | 'GET' | 'HEAD';
  /** Path and query of the i-th request. */
  readonly path: (i: number) => string;
  readonly bodyBytes?: number;
  readonly inFlight: number;
  /** The load ends after this time or this many requests, whichever comes first. */
  readonly durationMs: number;
  readonly maxRequests: number;
}

export interface Result {
  readonly requests: number;
  readonly failed: number;
  readonly bytes: number;
  readonly seconds: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** A bounded closed-loop load: `inFlight` requests at a time, each signed, over kept-alive TLS connections. */
export async function drive(target: Target, load: Load): Promise<Result> {
  const agent = new Agent({ ca: target.ca, keepAlive: true, maxSockets: load.inFlight });
  const body = load.bodyBytes === undefined ? undefined : randomBytes(load.bodyBytes);
  const latencies: number[] = [];
  let next = 0;
  let bytes = 0;
  let failed = 0;
  const started = performance.now();
  const worker = async (): Promise<void> => {
    while (next < load.maxRequests && performance.now() - started < load.durationMs) {
      const i = next++;
      const url = new URL(load.path(i), target.urls[i % target.urls.length]);
      const at = performance.now();
      const answer = await send({ agent, url, method: load.method, body });
      latencies.push(performance.now() - at);
      if (answer.status >= 300) failed++;
      bytes += answer.bytes + (body?.length ?? 0);
    }
  };
  await Promise.all(Array.from({ length: load.inFlight }, worker));
  const seconds = (performance.now() - started) / 1000;
  agent.destroy();
  latencies.sort((a, b) => a - b);
  const at = (quantile: number): number =>
    latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * quantile))] ?? 0;
  return { requests: latencies.length, failed, bytes, seconds, p50Ms: at(0.5), p99Ms: at(0.99) };
}

interface Sending {
  readonly agent: Agent;
  readonly url: URL;
  readonly method: string;
  readonly body: Buffer | undefined;
}

/** One signed request; the answer's body is read and counted, not kept. */
async function send({ agent, url, method, body }: Sending): Promise<{ status: number; bytes: number }> {
  const headers: Record<string, string> = { 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD' };
  if (body !== undefined) headers['content-length'] = String(body.length);
  const path = `${url.pathname}${url.search}`;
  const signed = aws4.sign(
    { host: url.host, path, method, service: 's3', region: testRegion, headers },
    testKeys,
  );
  return new Promise((resolve, reject) => {
    const options = {
      agent,
      host: url.hostname,
      port: url.port,
      method,
      path,
      headers: signed.headers as Record<string, string>,
    };
    const outgoing = request(options, (response) => {
      let bytes = 0;
      response.on('data', (chunk: Buffer) => (bytes += chunk.length));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, bytes }));
      response.on('error', reject);
    });
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}
