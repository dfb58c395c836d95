/** A bare Node HTTPS server that hashes what it is sent and keeps nothing: the ceiling for a store in Node. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';

const [cert, key] = process.argv.slice(2);
if (cert === undefined || key === undefined) throw new Error('usage: bare_server.ts CERT KEY');
const answers = new Map<number, Buffer>();

const server = createServer({ cert: readFileSync(cert), key: readFileSync(key) }, (request, response) => {
  if (request.method === 'PUT' || request.method === 'POST') {
    const hash = createHash('md5');
    request.on('data', (chunk: Buffer) => hash.update(chunk));
    request.on('end', () => response.setHeader('etag', hash.digest('hex')).end());
    return;
  }
  const sizeBytes = Number(new URL(request.url ?? '/', 'https://localhost').searchParams.get('size') ?? 0);
  const body = answers.get(sizeBytes) ?? Buffer.alloc(sizeBytes, 1);
  answers.set(sizeBytes, body);
  response.setHeader('content-length', body.length);
  response.end(request.method === 'HEAD' ? undefined : body);
});
server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  if (address !== null && typeof address === 'object')
    process.stdout.write(`s3d ready https://127.0.0.1:${address.port}\n`);
});
