import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { loadConfig } from '../../../cmd/config/load.ts';
import { parseFlags } from '../../../cmd/flags.ts';
import { openIdentity } from '../../../cmd/identity.ts';
import { dialPeer } from '../../../transport/peer.ts';
import { ShardClient } from '../../../transport/shard_client.ts';
import { ServerProcess } from '../../cluster/server_process.ts';
import { writeTestConfig, type TestConfig } from '../../cluster/test_config.ts';
import { peakMemoryMiB } from '../process_memory.ts';
import type { Measured } from './target.ts';

const binary = fileURLToPath(new URL('../../../bin/s3d', import.meta.url));
const mib = 1024 * 1024;
const uploads = 64;
const shardBytes = 24 * mib;

/** The peak resident set of a shard node's process that takes 64 uploads at once from another process. */
export async function measureMemory(): Promise<Measured[]> {
  // Two nodes, so that the database runs in a process of its own; the second one is never started.
  const files = await writeTestConfig({ nodes: 2, databases: 1, rs: { data: 1, parity: 0 } });
  await promisify(execFile)(binary, ['certs', '-config', files.file]);
  const database = await start(files, 'db-1', ['-db', '-config', files.file, '-db-node', '1']);
  try {
    const args = [
      '-backend',
      'distributed',
      '-config',
      files.file,
      '-node',
      '0',
      '-port',
      String(files.port),
    ];
    const node = await start(files, 'node-0', args);
    try {
      const idleMiB = await peakMemoryMiB(node.pid);
      await upload(files);
      const value = ((await peakMemoryMiB(node.pid)) * mib) / 1e6;
      const detail = `${((idleMiB * mib) / 1e6).toFixed(0)} MB when it has just started`;
      return [
        {
          name: `shard node's memory with ${uploads} uploads`,
          value,
          unit: 'MB',
          target: 150,
          most: true,
          detail,
        },
      ];
    } finally {
      await node.kill('SIGTERM');
    }
  } finally {
    await database.kill('SIGTERM');
    await files.remove();
  }
}

async function start(files: TestConfig, name: string, args: readonly string[]): Promise<ServerProcess> {
  return ServerProcess.start({ name, args, logFile: join(files.directory, `${name}.log`) });
}

async function upload(files: TestConfig): Promise<void> {
  const config = await loadConfig(files.file);
  const identity = await openIdentity(parseFlags([], {}), config, { make: false });
  const [node] = config.nodes;
  if (node === undefined) throw new Error('the config has no node');
  const peer = dialPeer({
    driver: 'http3',
    host: node.host,
    port: node.port,
    peer: `node-${node.id}`,
    self: 'gateway',
    clusterId: identity.clusterId,
    secret: identity.secret,
    tls: { ca: readFileSync(join(config.base_path, 'certs', 'ca.pem')) },
  });
  const piece = randomBytes(256 * 1024);
  async function* body(): AsyncGenerator<Uint8Array> {
    for (let left = shardBytes; left > 0; left -= piece.length) yield piece;
  }
  try {
    await peer.connected(5000);
    const client = new ShardClient(peer, { deadlineMs: 60_000 });
    await Promise.all(
      Array.from({ length: uploads }, (_, name) =>
        client.put(
          { objectHash: Buffer.alloc(32, name), index: 0 },
          { epoch: 1n, blockSizeBytes: 256 * 1024 },
          body(),
        ),
      ),
    );
  } finally {
    await peer.close();
  }
}
