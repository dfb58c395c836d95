/** Tells the shards of all contents apart, as text. */
export function shardName(shard: { readonly objectHash: Uint8Array; readonly index: number }): string {
  return `${Buffer.from(shard.objectHash).toString('base64')}/${shard.index}`;
}

/** The hash just before this one, as a number; undefined for the first of all. Shards are listed in that order. */
export function hashBefore(hash: Uint8Array): Uint8Array | undefined {
  const result = Buffer.from(hash);
  for (let i = result.length - 1; i >= 0; i -= 1) {
    const byte = result[i] ?? 0;
    result[i] = byte === 0 ? 255 : byte - 1;
    if (byte !== 0) return result;
  }
  return undefined;
}
