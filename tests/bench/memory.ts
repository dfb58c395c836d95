/**
 * `make bench-memory`: a 1 GB single PUT, a 5 GB multipart upload and both downloads through a cluster of eight
 * processes; prints the peak resident memory of each, which must stay below 400 MB.
 */
import { createHash, randomFillSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { request } from 'node:https';
import { Readable } from 'node:stream';
import { CreateBucketCommand } from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';
import aws4 from 'aws4';
import { Cluster } from '../cluster/cluster.ts';
import { testKeys, testRegion, writeTestConfig } from '../cluster/test_config.ts';
import { awsSdk } from '../e2e/clients/aws_sdk.ts';
import { sha256OfObject } from '../e2e/clients/objects.ts';
import { peakMemoryMiB } from './process_memory.ts';

const GiB = 1 << 30;
const limitMiB = 400;
const print = (line: string): void => void process.stdout.write(`${line}\n`);

/** `sizeBytes` pseudo-random bytes, the same for the same seed, and their SHA-256 once it has ended. */
function content(sizeBytes: number, seed: number): { stream: Readable; sha256: () => string } {
  const block = Buffer.alloc(1 << 20);
  randomFillSync(block);
  const hash = createHash('sha256');
  let sent = 0;
  const stream = new Readable({
    highWaterMark: 1 << 20,
    read() {
      if (sent >= sizeBytes) {
        this.push(null);
        return;
      }
      const piece = Buffer.from(block.subarray(0, Math.min(block.length, sizeBytes - sent)));
      piece.writeUInt32LE((sent / block.length + seed) >>> 0, 0);
      sent += piece.length;
      hash.update(piece);
      this.push(piece);
    },
  });
  return { stream, sha256: () => hash.digest('hex') };
}

async function putSingle(target: {
  url: string;
  caFile: string;
  path: string;
  sizeBytes: number;
}): Promise<string> {
  const url = new URL(target.url);
  const { stream, sha256 } = content(target.sizeBytes, 1);
  const signed = aws4.sign(
    {
      host: url.host,
      path: target.path,
      method: 'PUT',
      service: 's3',
      region: testRegion,
      headers: { 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD', 'content-length': String(target.sizeBytes) },
    },
    testKeys,
  );
  await new Promise<void>((resolve, reject) => {
    const outgoing = request(
      {
        host: url.hostname,
        port: url.port,
        path: target.path,
        method: 'PUT',
        headers: signed.headers as Record<string, string>,
        ca: readFileSync(target.caFile),
      },
      (response) => {
        response.resume();
        response.on('end', () =>
          response.statusCode === 200 ? resolve() : reject(new Error(`PUT answered ${response.statusCode}`)),
        );
      },
    );
    outgoing.on('error', reject);
    stream.pipe(outgoing);
  });
  return sha256();
}

const config = await writeTestConfig({ nodes: 5, databases: 3 });
const cluster = await Cluster.start(config.file);
let failed = false;
try {
  const gateway = (id: number): { url: string; caFile: string } => ({
    url: cluster.nodes.get(id)?.url ?? '',
    caFile: cluster.caFile,
  });
  const s3 = awsSdk(gateway(0));
  await s3.send(new CreateBucketCommand({ Bucket: 'memory' }));
  const time = async <T>(name: string, sizeBytes: number, work: () => Promise<T>): Promise<T> => {
    const started = performance.now();
    const result = await work();
    const seconds = (performance.now() - started) / 1000;
    print(`${name}: ${seconds.toFixed(1)} s, ${(sizeBytes / (1 << 20) / seconds).toFixed(0)} MiB/s`);
    return result;
  };
  const single = await time('1 GiB in one PUT', GiB, () =>
    putSingle({ ...gateway(0), path: '/memory/single', sizeBytes: GiB }),
  );
  const multipart = await time('5 GiB in parts of 64 MiB', 5 * GiB, async () => {
    const { stream, sha256 } = content(5 * GiB, 2);
    const params = { Bucket: 'memory', Key: 'multipart', Body: stream };
    await new Upload({ client: s3, params, partSize: 64 << 20, queueSize: 4 }).done();
    return sha256();
  });
  const readSingle = await time('1 GiB read by another gateway', GiB, () =>
    sha256OfObject(awsSdk(gateway(1)), { bucket: 'memory', key: 'single' }),
  );
  const readMultipart = await time('5 GiB read by another gateway', 5 * GiB, () =>
    sha256OfObject(awsSdk(gateway(2)), { bucket: 'memory', key: 'multipart' }),
  );
  if (readSingle !== single || readMultipart !== multipart)
    throw new Error('what came back is not what was sent');
  for (const server of [...cluster.nodes.values(), ...cluster.databases.values()]) {
    const peak = await peakMemoryMiB(server.pid);
    if (peak > limitMiB) failed = true;
    print(
      `peak memory of ${server.name}: ${peak.toFixed(0)} MiB${peak > limitMiB ? `, more than ${limitMiB}` : ''}`,
    );
  }
} finally {
  await cluster.stop('SIGTERM');
  await config.remove();
}
process.exitCode = failed ? 1 : 0;
