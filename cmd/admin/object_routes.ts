import { Readable } from 'node:stream';
import { Hono, type Context } from 'hono';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import { AuthError } from '../../auth/errors.ts';
import { decodePayload } from '../../auth/payload.ts';
import type { BucketInfo } from '../../backend/backend.ts';
import { BackendError, type BackendErrorCode } from '../../backend/errors.ts';
import type { AdminEnv, AdminOptions } from './options.ts';
import { ownBucket } from './own_bucket.ts';

/** The plain REST API: objects and buckets by JSON and raw bodies, for scripts that don't speak S3. */
export function objectRoutes(options: AdminOptions): Hono<AdminEnv> {
  const { backend, region } = options;
  const app = new Hono<AdminEnv>();

  app.get('/buckets', async (c) => {
    const page = await backend.listBuckets({ owner: c.var.owner, maxBuckets: 10_000 });
    return c.json({
      buckets: page.buckets.map((bucket) => ({
        name: bucket.name,
        created: new Date(bucket.createdMs).toISOString(),
      })),
    });
  });

  app.post('/buckets', async (c) => {
    const bucket = c.req.query('name');
    if (bucket === undefined)
      return c.json({ error: 'InvalidArgument', message: 'expected ?name=BUCKET' }, 400);
    const info = await backend.createBucket({ bucket, owner: c.var.owner, region });
    return c.json({ name: info.name }, 201);
  });

  app.post('/objects/:bucket/:key{.+}', async (c) => {
    const type = c.req.header('content-type');
    const length = c.req.header('x-amz-decoded-content-length') ?? c.req.header('content-length');
    if (length === undefined) {
      return c.json({ error: 'MissingContentLength', message: 'expected a Content-Length header' }, 411);
    }
    // What was signed is verified while it is read: a body that isn't it never becomes an object.
    const { stream } = decodePayload(readAll(c.req.raw.body), c.var.payload);
    const written = await backend.putObject({
      ...target(c),
      owner: c.var.owner,
      metadata: { system: type === undefined ? {} : { contentType: type }, user: {} },
      body: { stream, sizeBytes: Number(length) },
    });
    return c.json({ etag: written.etag, size: written.sizeBytes }, 201);
  });

  app.get('/objects/:bucket/:key{.+}', async (c) => {
    const found = await backend.getObject(target(c));
    c.header('Content-Length', String(found.sizeBytes));
    c.header('Content-Type', found.metadata.system.contentType ?? 'application/octet-stream');
    c.header('ETag', `"${found.etag}"`);
    c.header('Last-Modified', new Date(found.lastModifiedMs).toUTCString());
    // Whoever may write an object must not act through the browser of an administrator who looks at it.
    c.header('Content-Disposition', 'attachment');
    c.header('Content-Security-Policy', 'sandbox');
    c.header('X-Content-Type-Options', 'nosniff');
    return c.body(Readable.toWeb(Readable.from(found.body, { objectMode: false })) as ReadableStream);
  });

  app.delete('/objects/:bucket/:key{.+}', async (c) => {
    await backend.deleteObject(target(c));
    return c.body(null, 204);
  });

  app.onError((error, c) => {
    if (error instanceof AuthError) return c.json({ error: error.code, message: error.message }, 400);
    if (!(error instanceof BackendError)) throw error;
    return c.json({ error: error.code, message: error.message }, statusOf(error.code));
  });
  return app;
}

function target(c: Context<AdminEnv>): {
  bucket: string;
  key: string;
  authorize: (bucket: BucketInfo) => void;
} {
  const owner = c.var.owner;
  return {
    bucket: c.req.param('bucket') ?? '',
    key: c.req.param('key') ?? '',
    authorize: (bucket) => ownBucket(owner, bucket),
  };
}

async function* readAll(body: ReadableStream<Uint8Array> | null): AsyncGenerator<Uint8Array> {
  if (body !== null) for await (const chunk of body) yield chunk;
}

function statusOf(code: BackendErrorCode): ContentfulStatusCode {
  switch (code) {
    case 'AccessDenied':
      return 403;
    case 'NoSuchBucket':
    case 'NoSuchKey':
    case 'NoSuchUpload':
    case 'NoSuchVersion':
      return 404;
    case 'BucketAlreadyExists':
    case 'BucketAlreadyOwnedByYou':
    case 'BucketNotEmpty':
    case 'OperationAborted':
      return 409;
    case 'PreconditionFailed':
      return 412;
    case 'InternalError':
      return 500;
    case 'NotImplemented':
      return 501;
    case 'ServiceUnavailable':
    case 'SlowDown':
      return 503;
    default:
      return 400;
  }
}
