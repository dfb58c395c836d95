import { Buffer } from 'node:buffer';
import type { Handlers } from '../transport.ts';

const piece = Buffer.alloc(1024 * 1024, 7);

export const benchHandlers: Handlers = {
  calls: {
    ping: (call) => Promise.resolve({ header: call.header }),
    sink: async (call) => {
      let bytes = 0;
      for await (const chunk of call.body) bytes += chunk.length;
      return { header: Buffer.from(String(bytes)) };
    },
    source: (call) => Promise.resolve({ body: source(Number(Buffer.from(call.header).toString())) }),
  },
};

/** So many bytes in chunks of 1 MiB. */
export async function* source(bytes: number): AsyncGenerator<Uint8Array, void> {
  for (let left = bytes; left > 0; left -= piece.length)
    yield piece.subarray(0, Math.min(left, piece.length));
}
