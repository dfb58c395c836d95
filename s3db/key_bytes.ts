/** Order and prefixes of raw byte keys, as LevelDB sorts them. */

export function bytesEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && Buffer.compare(a, b) === 0;
}

export function startsWith(key: Uint8Array, prefix: Uint8Array): boolean {
  if (key.length < prefix.length) return false;
  for (let i = 0; i < prefix.length; i++) {
    if (key[i] !== prefix[i]) return false;
  }
  return true;
}

export function concatBytes(a: Uint8Array, b: Uint8Array): Uint8Array {
  const joined = new Uint8Array(a.length + b.length);
  joined.set(a, 0);
  joined.set(b, a.length);
  return joined;
}

/** The smallest key greater than every key that starts with `prefix`; undefined when there is none (all 0xff). */
export function afterPrefix(prefix: Uint8Array): Uint8Array | undefined {
  let end = prefix.length;
  while (end > 0 && prefix[end - 1] === 0xff) end--;
  if (end === 0) return undefined;
  // Not slice(): on a Buffer that shares memory.
  const successor = new Uint8Array(prefix.subarray(0, end));
  successor[end - 1] = (successor[end - 1] ?? 0) + 1;
  return successor;
}

/** Where `needle` first begins in `haystack` at or after `from`; -1 when it doesn't. */
export function indexOfBytes(haystack: Uint8Array, needle: Uint8Array, from: number): number {
  return asBuffer(haystack).indexOf(needle, from);
}

/** The same memory as a Buffer. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** The same memory from `from` on, as a plain Uint8Array whatever the library gave (a Buffer's slice() shares memory). */
export function plainView(bytes: Uint8Array, from: number): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset + from, bytes.length - from);
}
