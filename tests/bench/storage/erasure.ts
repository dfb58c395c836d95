import { randomBytes } from 'node:crypto';
import { BufferPool } from '../../../backend/distributed/buffer_pool.ts';
import { CodecFactory } from '../../../backend/distributed/erasure/codec_factory.ts';
import type { Codec } from '../../../backend/distributed/erasure/codec.ts';
import { CrateCodec } from '../../../backend/distributed/erasure/crate_codec.ts';
import { bestOf, type Measured } from './target.ts';

const blockBytes = 256 * 1024;
const runMs = 150;

/** Gigabytes of data (not of output) for a second of this thread's time, which other processes don't take from it. */
function speed(run: () => void, bytes: number): number {
  const begin = performance.now();
  const before = process.threadCpuUsage();
  let rounds = 0;
  while (performance.now() - begin < runMs) {
    run();
    rounds += 1;
  }
  const { user, system } = process.threadCpuUsage(before);
  return (rounds * bytes) / 1e3 / (user + system);
}

/** The SIMD kernel against the Rust crate's WebAssembly, from the blocks' bytes to new blocks, copies included. */
export async function measureErasure(rounds: number): Promise<Measured[]> {
  // As a gateway does: what was sent is used again for the next stripe.
  const pool = new BufferPool();
  const factory = await CodecFactory.open((sizeBytes) => pool.take(sizeBytes));
  const recycled = (blocks: readonly Uint8Array[]): void => {
    if (blocks[0] !== undefined) pool.give(blocks[0].buffer);
  };
  const measured: Measured[] = [];
  for (const { data, parity, ratio } of [
    { data: 3, parity: 2, ratio: 6 },
    { data: 8, parity: 4, ratio: 5 },
  ]) {
    const kernel = factory.codec({ data, parity });
    const crate = CrateCodec.create({ data, parity });
    const blocks = Array.from({ length: data }, () => [randomBytes(blockBytes)]);
    const encode = (codec: Codec) => () =>
      speed(() => recycled(codec.encode(blocks, blockBytes)), data * blockBytes);
    const best = await bestOf(rounds, { kernel: encode(kernel), crate: encode(crate) });
    measured.push({
      name: `encode RS(${data},${parity}) against the crate`,
      value: best.kernel / best.crate,
      unit: 'x',
      target: ratio,
      detail: `${best.kernel.toFixed(2)} and ${best.crate.toFixed(2)} GB/s`,
    });
    const encoded = [...blocks, ...kernel.encode(blocks, blockBytes).map((block) => [block])];
    const present = encoded.map((block, index) => (index < 2 ? undefined : block));
    const request = { wanted: [0, 1], lengthBytes: blockBytes };
    const rebuilt = await bestOf(rounds, {
      speed: () => speed(() => recycled(kernel.reconstruct(present, request)), data * blockBytes),
    });
    if (data === 3)
      measured.push({
        name: `reconstruct two lost shards of RS(${data},${parity})`,
        value: rebuilt.speed,
        unit: 'GB/s',
        target: 4,
      });
  }
  return measured;
}
