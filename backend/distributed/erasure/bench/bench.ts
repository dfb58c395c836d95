/**
 * Encode and decode speed of the kernel and of the crate, and their ratio.
 * Run: `node backend/distributed/erasure/bench/bench.ts [milliseconds a measurement]`
 */
import { randomBytes } from 'node:crypto';

import { CodecFactory } from '../codec_factory.ts';
import type { Codec } from '../codec.ts';
import { CrateCodec } from '../crate_codec.ts';

const budgetMs = Number(process.argv[2] ?? 500);
const factory = await CodecFactory.open();

/** Megabytes of data a second. */
function measure(run: () => void, bytes: number): number {
  const start = performance.now();
  let rounds = 0;
  while (performance.now() - start < budgetMs) {
    run();
    rounds += 1;
  }
  return (rounds * bytes) / 1000 / (performance.now() - start);
}

function speeds(codec: Codec, blockBytes: number): { readonly encode: number; readonly decode: number } {
  const data = Array.from({ length: codec.data }, () => [randomBytes(blockBytes)]);
  const bytes = codec.data * blockBytes;
  const encode = measure(() => codec.encode(data, blockBytes), bytes);
  const parity = codec.encode(data, blockBytes).map((block) => [block]);
  const wanted = parity.map((_, i) => i).slice(0, codec.data);
  const present = [...data, ...parity].map((block, i) => (wanted.includes(i) ? undefined : block));
  const decode = measure(() => codec.reconstruct(present, { wanted, lengthBytes: blockBytes }), bytes);
  return { encode, decode };
}

process.stdout.write('code      block KiB   kernel enc/dec MB/s   crate enc/dec MB/s   ratio enc/dec\n');
for (const [data, parity] of [
  [3, 2],
  [8, 4],
  [12, 4],
] as const) {
  for (const blockBytes of [4 << 10, 256 << 10, 1 << 20]) {
    const kernel = speeds(factory.codec({ data, parity }), blockBytes);
    const crate = speeds(CrateCodec.create({ data, parity }), blockBytes);
    const row = [
      `RS(${data},${parity})`.padEnd(10),
      String(blockBytes >> 10).padStart(8),
      `${kernel.encode.toFixed(0)} / ${kernel.decode.toFixed(0)}`.padStart(20),
      `${crate.encode.toFixed(0)} / ${crate.decode.toFixed(0)}`.padStart(20),
      `${(kernel.encode / crate.encode).toFixed(1)} / ${(kernel.decode / crate.decode).toFixed(1)}`.padStart(
        16,
      ),
    ];
    process.stdout.write(`${row.join(' ')}\n`);
  }
}
