import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { get } from 'node:https';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { testKeys, testRegion } from '../../cluster/test_config.ts';
import type { Endpoint } from './endpoint.ts';

const startMs = 20_000;

/** Debian's docker-registry with its S3 storage driver on a bucket that is there. */
export class Registry {
  readonly url: string;
  readonly #process: ChildProcess;
  readonly #directory: string;
  readonly #caFile: string;

  private constructor(
    url: string,
    run: { readonly process: ChildProcess; readonly directory: string; readonly caFile: string },
  ) {
    this.url = url;
    this.#process = run.process;
    this.#directory = run.directory;
    this.#caFile = run.caFile;
  }

  static async start(endpoint: Endpoint, bucket: string): Promise<Registry> {
    const directory = await mkdtemp(join(tmpdir(), 's3d-registry-'));
    const port = await freePort();
    const keys = endpoint.keys ?? testKeys;
    const config = join(directory, 'config.yml');
    await writeFile(
      config,
      `version: 0.1
storage:
  s3:
    accesskey: ${keys.accessKeyId}
    secretkey: ${keys.secretAccessKey}
    region: ${testRegion}
    regionendpoint: ${endpoint.url}
    bucket: ${bucket}
  delete:
    enabled: true
http:
  addr: 127.0.0.1:${port}
`,
    );
    const child = spawn('docker-registry', ['serve', config], {
      env: { PATH: process.env['PATH'] ?? '', HOME: directory, SSL_CERT_FILE: endpoint.caFile },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let log = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => (log = (log + text).slice(-10_000)));
    const registry = new Registry(`http://127.0.0.1:${port}`, {
      process: child,
      directory,
      caFile: endpoint.caFile,
    });
    const deadline = Date.now() + startMs;
    while (!(await answers(registry.url))) {
      if (child.exitCode !== null || Date.now() > deadline) {
        await registry.stop();
        throw new Error(`docker-registry did not start: ${log}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    return registry;
  }

  /** Uploads a blob in one monolithic PATCH, as image pushes do. */
  async pushBlob(name: string, blob: { readonly digest: string; readonly content: Buffer }): Promise<void> {
    const begun = await this.#ask(`/v2/${name}/blobs/uploads/`, { method: 'POST' }, 202);
    const patched = await this.#ask(
      location(begun),
      {
        method: 'PATCH',
        headers: { 'Content-Type': 'application/octet-stream' },
        body: new Uint8Array(blob.content),
      },
      202,
    );
    const end = new URL(location(patched), this.url);
    end.searchParams.set('digest', blob.digest);
    await this.#ask(end.href, { method: 'PUT' }, 201);
  }

  /** Follows the registry's redirect to a presigned URL of the store, as its clients do. */
  async pullBlob(name: string, digest: string): Promise<Buffer> {
    const response = await this.#ask(`/v2/${name}/blobs/${digest}`, { redirect: 'manual' }, 307);
    const ca = await readFile(this.#caFile);
    const [answer] = (await once(get(location(response), { ca }), 'response')) as [IncomingMessage];
    if (answer.statusCode !== 200) throw new Error(`the presigned URL answered ${answer.statusCode}`);
    return buffer(answer);
  }

  async pushManifest(name: string, tag: string, manifest: { readonly mediaType: string }): Promise<void> {
    await this.#ask(
      `/v2/${name}/manifests/${tag}`,
      { method: 'PUT', headers: { 'Content-Type': manifest.mediaType }, body: JSON.stringify(manifest) },
      201,
    );
  }

  async pullManifest(name: string, tag: string, mediaType: string): Promise<unknown> {
    const response = await this.#ask(`/v2/${name}/manifests/${tag}`, { headers: { Accept: mediaType } }, 200);
    return response.json();
  }

  async tags(name: string): Promise<readonly string[]> {
    const response = await this.#ask(`/v2/${name}/tags/list`, {}, 200);
    return ((await response.json()) as { tags: string[] }).tags;
  }

  async stop(): Promise<void> {
    if (this.#process.exitCode === null && this.#process.signalCode === null) {
      this.#process.kill('SIGKILL');
      await once(this.#process, 'exit');
    }
    await rm(this.#directory, { recursive: true, force: true });
  }

  async #ask(path: string, request: RequestInit, expected: number): Promise<Response> {
    const response = await fetch(new URL(path, this.url), request);
    if (response.status === expected) return response;
    throw new Error(
      `${request.method ?? 'GET'} ${path}: ${response.status} ${(await response.text()).slice(0, 500)}`,
    );
  }
}

function location(response: Response): string {
  const value = response.headers.get('location');
  if (value === null) throw new Error('the registry gave no location');
  return value;
}

async function answers(url: string): Promise<boolean> {
  return fetch(`${url}/v2/`).then(
    ({ ok }) => ok,
    () => false,
  );
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}
