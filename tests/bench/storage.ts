/**
 * `make bench-storage`: what a shard node is made of, each against its target: erasure coding, log, shard store,
 * transport, memory. Ratios are taken in one run, the best of a few rounds of each side in turns, so that they mean
 * something on a machine that does other things as well. `node tests/bench/storage.ts [part ...]` runs only those parts.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { collectYoungBuffers } from '../../cmd/buffer_collection.ts';
import { measureErasure } from './storage/erasure.ts';
import { measureLog } from './storage/log.ts';
import { measureMemory } from './storage/memory.ts';
import { measureStore } from './storage/store.ts';
import { describe, isReached, type Measured } from './storage/target.ts';
import { measureTransport } from './storage/transport.ts';

const rounds = Number(process.env['BENCH_ROUNDS'] ?? 4);
const parts: Readonly<Record<string, (directory: string) => Promise<Measured[]>>> = {
  erasure: () => measureErasure(rounds),
  log: (directory) => measureLog(directory, rounds),
  store: (directory) => measureStore(directory, rounds),
  transport: () => measureTransport(rounds),
  memory: () => measureMemory(),
};

const wanted = process.argv.slice(2);
const directory = await mkdtemp(join(tmpdir(), 's3d-bench-'));
// As in the server's process: else it is V8's full collections that are measured, one for each 64 MiB that passes.
collectYoungBuffers();
let missed = 0;
try {
  for (const [name, measure] of Object.entries(parts)) {
    if (wanted.length > 0 && !wanted.includes(name)) continue;
    for (const measured of await measure(directory)) {
      process.stdout.write(`${describe(measured)}\n`);
      if (!isReached(measured)) missed += 1;
    }
  }
} finally {
  await rm(directory, { recursive: true });
}
process.stdout.write(missed === 0 ? 'every target is reached\n' : `${missed} targets are not reached\n`);
process.exitCode = missed === 0 ? 0 : 1;
