import type { ShardStorage } from '../wal/shard_storage.ts';
import { toRemote } from './shard_errors.ts';
import {
  decodeDelete,
  decodeGet,
  decodeKey,
  decodePut,
  decodeScan,
  encodeFound,
  encodeStat,
  encodeStats,
  encodeUsage,
  maxScanLimit,
  shardMethods,
} from './shard_protocol.ts';
import type { Handler, Handlers } from './transport.ts';

/** Serves a shard store to other nodes; `ShardClient` is the other end. */
export function shardHandlers(storage: ShardStorage): Handlers {
  return {
    calls: {
      [shardMethods.put]: typed(async (call) => {
        const { key, options } = decodePut(call.header);
        return { header: encodeStat(await storage.put(key, options, call.body)) };
      }),
      [shardMethods.get]: typed(async (call) => {
        const { key, range } = decodeGet(call.header);
        const { stat, body } = await storage.get(key, range);
        return { header: encodeStat(stat), body: typedBody(body) };
      }),
      [shardMethods.stat]: typed(async (call) => {
        const stat = await storage.stat(decodeKey(call.header));
        return { header: encodeFound(stat !== undefined, stat) };
      }),
      [shardMethods.delete]: typed(async (call) => {
        const { key, options } = decodeDelete(call.header);
        return { header: encodeFound(await storage.delete(key, options)) };
      }),
      [shardMethods.scan]: typed(async (call) => {
        const { limit, startAfter } = decodeScan(call.header);
        const options = { limit: Math.min(limit, maxScanLimit) };
        const stats = await storage.scan(startAfter === undefined ? options : { ...options, startAfter });
        return { body: once(encodeStats(stats)) };
      }),
      [shardMethods.usage]: typed(async () => ({ header: encodeUsage(await storage.usage()) })),
      [shardMethods.ping]: () => Promise.resolve({}),
    },
  };
}

/** Errors of the store travel by their code. */
function typed(handler: Handler): Handler {
  return async (call) => {
    try {
      return await handler(call);
    } catch (error) {
      throw toRemote(error);
    }
  };
}

async function* typedBody(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void> {
  try {
    yield* body;
  } catch (error) {
    throw toRemote(error);
  }
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array, void> {
  yield bytes;
}
