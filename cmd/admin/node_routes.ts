import { Hono, type Context } from 'hono';
import { z } from 'zod';
import { AuthError } from '../../auth/errors.ts';
import { decodePayload } from '../../auth/payload.ts';
import { ControlRefusedError, type ClusterControl } from './cluster_control.ts';
import { describeNode, describeRepair } from './descriptions.ts';
import type { AdminEnv, AdminOptions } from './options.ts';

const maxBodyBytes = 64 * 1024;
const host = z.string().min(1).max(253);
const port = z.int().min(1).max(65_535);
const nodeId = z.int().min(0).max(65_535);
const addition = z.strictObject({ id: nodeId, host, port, weight: z.number().optional() });
const address = z.strictObject({ host, port });
const weighing = z.strictObject({ weight: z.number() });

/**
 * Shard nodes: `GET /nodes`, `POST /nodes` (add), `POST /nodes/:id/drain|activate|replace|weight`,
 * `DELETE /nodes/:id` (remove), and the audit: `POST /audit/resume|approve`. Changes answer 202: the rows say so at
 * once, and what follows from them shows in `GET /nodes`.
 */
export function nodeRoutes(options: AdminOptions): Hono<AdminEnv> {
  const { view, control } = options;
  const app = new Hono<AdminEnv>();
  app.get('/nodes', async (c) => {
    const [nodes, repair] = await Promise.all([view.nodes(), view.repair()]);
    return c.json({ nodes: nodes.map(describeNode), repair: describeRepair(repair) });
  });
  if (control === undefined) return app;

  const change = async (
    c: Context<AdminEnv>,
    apply: (control: ClusterControl, body: unknown) => Promise<void>,
  ): Promise<Response> => {
    try {
      await apply(control, await readJson(c));
      return c.json({ status: 'accepted' }, 202);
    } catch (error) {
      if (error instanceof ControlRefusedError) {
        return c.json({ error: error.code, message: error.message }, 409);
      }
      if (error instanceof z.ZodError) {
        const text = error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).join('; ');
        return c.json({ error: 'InvalidArgument', message: text }, 400);
      }
      if (error instanceof AuthError) return c.json({ error: error.code, message: error.message }, 400);
      throw error;
    }
  };

  app.post('/nodes', (c) => change(c, (to, body) => to.add(addition.parse(body))));
  app.post('/nodes/:id/drain', (c) => change(c, (to) => to.drain(idOf(c))));
  app.post('/nodes/:id/activate', (c) => change(c, (to) => to.activate(idOf(c))));
  app.post('/nodes/:id/replace', (c) =>
    change(c, (to, body) => to.replace({ id: idOf(c), ...address.parse(body) })),
  );
  app.post('/nodes/:id/weight', (c) =>
    change(c, (to, body) => to.weigh(idOf(c), weighing.parse(body).weight)),
  );
  app.delete('/nodes/:id', (c) => change(c, (to) => to.remove(idOf(c))));
  app.post('/audit/resume', (c) => change(c, (to) => to.resumeAudit()));
  app.post('/audit/approve', (c) => change(c, (to) => to.approveAudit()));
  return app;
}

function idOf(c: Context<AdminEnv>): number {
  return nodeId.parse(Number(c.req.param('id')));
}

/** The body, checked against what was signed; undefined when there is none. */
export async function readJson(c: Context<AdminEnv>): Promise<unknown> {
  const { stream } = decodePayload(readAll(c.req.raw.body), c.var.payload);
  const parts: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const part of stream) {
    sizeBytes += part.byteLength;
    if (sizeBytes > maxBodyBytes) throw new ControlRefusedError('EntityTooLarge', 'the body is too long');
    parts.push(part);
  }
  const text = Buffer.concat(parts).toString('utf8');
  if (text.trim() === '') return undefined;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    throw new ControlRefusedError('InvalidArgument', 'the body is not JSON');
  }
}

async function* readAll(body: ReadableStream<Uint8Array> | null): AsyncGenerator<Uint8Array> {
  if (body !== null) for await (const chunk of body) yield chunk;
}
