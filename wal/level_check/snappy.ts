import { LevelDamagedError } from './damage.ts';

const maxBlockBytes = 64 * 1024 * 1024;

/** Decompresses a Snappy block (google/snappy, format_description.txt). @throws LevelDamagedError */
export function snappyDecompress(input: Uint8Array): Buffer {
  let at = 0;
  const next = (): number => {
    const byte = input[at++];
    if (byte === undefined) throw malformed();
    return byte;
  };
  let size = 0;
  for (let shift = 0, more = true; more; shift += 7) {
    const byte = next();
    size += (byte & 0x7f) * 2 ** shift;
    more = byte >= 0x80;
  }
  if (size > maxBlockBytes) throw malformed();
  const output = Buffer.alloc(size);
  let to = 0;
  while (at < input.length) {
    const tag = next();
    let length: number;
    if ((tag & 3) === 0) {
      length = tag >>> 2;
      if (length >= 60) {
        let coded = 0;
        for (let i = 0; i < length - 59 || i === 0; i++) coded += next() * 2 ** (8 * i);
        length = coded;
      }
      length++;
      if (at + length > input.length || to + length > size) throw malformed();
      output.set(input.subarray(at, at + length), to);
      at += length;
      to += length;
      continue;
    }
    let offset: number;
    if ((tag & 3) === 1) {
      length = 4 + ((tag >>> 2) & 7);
      offset = ((tag >>> 5) << 8) | next();
    } else {
      length = 1 + (tag >>> 2);
      offset = next() | (next() << 8);
      if ((tag & 3) === 3) offset += next() * 2 ** 16 + next() * 2 ** 24;
    }
    if (offset === 0 || offset > to || to + length > size) throw malformed();
    // Byte by byte: a copy may overlap what it makes.
    for (let i = 0; i < length; i++) output[to + i] = output[to + i - offset] ?? 0;
    to += length;
  }
  if (to !== size) throw malformed();
  return output;
}

function malformed(): LevelDamagedError {
  return new LevelDamagedError('a compressed block that cannot be decompressed');
}
