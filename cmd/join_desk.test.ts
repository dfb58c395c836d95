import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { IncomingMessage } from 'node:http';
import { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import aws4 from 'aws4';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { MemberRegistry } from '../backend/distributed/member_registry.ts';
import { seedMembers } from '../backend/distributed/members.ts';
import type { ProcessContext } from './context.ts';
import { joinCredential, joinService } from './join_credential.ts';
import { joinDesk } from './join_desk.ts';

const cluster = { clusterId: '0123456789abcdef', secret: Buffer.alloc(32, 1) };
const nodes = [
  { id: 0, host: 'a', port: 1 },
  { id: 1, host: 'b', port: 1 },
];

/** A request as the listener has it, signed by who knows `secret`. */
function request(secret: Uint8Array, service = joinService): IncomingMessage {
  const signed = aws4.sign(
    { host: 'gateway:9443', path: '/join', method: 'GET', service, region: 'r' },
    joinCredential({ ...cluster, secret }),
  );
  const incoming = new IncomingMessage(new Socket());
  incoming.method = 'GET';
  incoming.url = '/join';
  for (const [name, value] of Object.entries(signed.headers ?? {})) {
    incoming.rawHeaders.push(name, String(value));
  }
  return incoming;
}

describe('who asks for the config of a cluster', () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 's3d-join-'));
  });
  afterEach(() => rm(directory, { recursive: true }));

  function desk(tls = true): ReturnType<typeof joinDesk> {
    const context: unknown = {
      config: { tls, region: 'r', file: join(directory, 'c.toml') },
      identity: cluster,
      clock: Date.now,
    };
    const registry: unknown = { current: seedMembers(nodes) };
    return joinDesk(context as ProcessContext, registry as MemberRegistry);
  }

  test('needs the secret, for this and nothing else', async () => {
    const open = desk();
    expect(await open?.authenticate(request(cluster.secret))).toEqual({});
    const stranger = await open?.authenticate(request(Buffer.alloc(32, 2)));
    expect(stranger?.refusal).toContain('signature');
    expect((await open?.authenticate(request(cluster.secret, 's3')))?.refusal).toBeDefined();
    const unsigned = new IncomingMessage(new Socket());
    unsigned.method = 'GET';
    unsigned.url = '/join';
    expect((await open?.authenticate(unsigned))?.refusal).toBeDefined();
  });

  test('gets what all hosts share and the nodes of today, not what is one host’s own', async () => {
    const text = 'region = "r"\nhost = "h"\nbase_path = "p"\n[gc]\ndelay = "2s"\n[[nodes]]\nid = 9\n';
    await writeFile(join(directory, 'c.toml'), text);
    expect(await desk()?.config()).toEqual({
      region: 'r',
      gc: { delay: '2s' },
      nodes: nodes.map((node) => ({ ...node, path: `shards/node-${node.id}/`, weight: 1 })),
    });
  });

  test('gets nothing over plain HTTP', () => {
    expect(desk(false)).toBeUndefined();
  });
});
