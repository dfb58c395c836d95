import { decodeConfiguration } from '../../s3db/raft/configuration_codec.ts';
import type { Configuration, Entry, LogIndex, SnapshotMeta, Term } from '../../s3db/raft/types.ts';

/** Keys of one group are changed together; 0 stands for an absent value. */
export const KEYS_PER_GROUP = 2;

/** A conditional batch within one group: all or nothing. Without conditions a plain put or delete. */
export interface Command {
  readonly client: number;
  /** Ascending for each client; a retry carries the same one. */
  readonly request: number;
  readonly group: number;
  readonly conditions: readonly { readonly key: number; readonly value: number }[];
  readonly operations: readonly { readonly key: number; readonly value: number }[];
  readonly paddingBytes: number;
}

export function encodeCommand(command: Command): Uint8Array {
  const { conditions, operations } = command;
  const words = [
    ...[command.client, command.request, command.group, conditions.length, operations.length],
    ...[...conditions, ...operations].flatMap(({ key, value }) => [key, value]),
  ];
  const bytes = new Uint8Array(words.length * 4 + command.paddingBytes);
  const view = new DataView(bytes.buffer);
  for (const [i, word] of words.entries()) view.setUint32(4 * i, word);
  return bytes;
}

/** Folds a number into a 32-bit hash. */
export function mix(hash: number, value: number): number {
  let h = Math.imul(hash ^ (value | 0), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 15), 0xc2b2ae35);
  return (h ^ (h >>> 13)) >>> 0;
}

/** Whether the batch was carried out; `stale` for a request older than the newest one of its client. */
export type Result = 'done' | 'refused' | 'stale';

/** The replicated state: values, the newest request of each client with its answer, and the configuration and place it stands at. */
export class Machine {
  index: LogIndex = 0;
  term: Term = 0;
  configuration: Configuration;
  /** Over values and requests, not over how they came about. */
  digest = 0;
  readonly values = new Map<number, number>();
  readonly requests = new Map<number, { readonly request: number; readonly result: Result }>();

  constructor(meta: SnapshotMeta) {
    this.index = meta.index;
    this.term = meta.term;
    this.configuration = meta.configuration;
  }

  get meta(): SnapshotMeta {
    return { index: this.index, term: this.term, configuration: this.configuration };
  }

  clone(): Machine {
    const copy = new (this.constructor as typeof Machine)(this.meta);
    for (const [key, value] of this.values) copy.values.set(key, value);
    for (const [client, request] of this.requests) copy.requests.set(client, request);
    copy.digest = this.digest;
    return copy;
  }

  apply(entry: Entry): Result | undefined {
    const result = entry.type === 'command' ? this.execute(entry.data) : undefined;
    if (entry.type === 'config') this.configuration = decodeConfiguration(entry.data);
    this.index = entry.index;
    this.term = entry.term;
    return result;
  }

  /** A mutant forgets to ask whether the request was seen before. */
  protected remembered(client: number, request: number): Result | undefined {
    const known = this.requests.get(client);
    if (known === undefined || known.request < request) return undefined;
    return known.request === request ? known.result : 'stale';
  }

  protected execute(data: Uint8Array): Result {
    const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    const client = view.getUint32(0);
    const request = view.getUint32(4);
    const known = this.remembered(client, request);
    if (known !== undefined) return known;
    const base = view.getUint32(8) * KEYS_PER_GROUP;
    const conditions = view.getUint32(12);
    const all = conditions + view.getUint32(16);
    let holds = true;
    for (let i = 0; i < conditions; i++) {
      const key = base + view.getUint32(20 + 8 * i);
      if ((this.values.get(key) ?? 0) !== view.getUint32(24 + 8 * i)) holds = false;
    }
    for (let i = conditions; i < all && holds; i++) {
      this.#put(base + view.getUint32(20 + 8 * i), view.getUint32(24 + 8 * i));
    }
    const result = holds ? 'done' : 'refused';
    const before = this.requests.get(client);
    this.digest ^= before === undefined ? 0 : requestHash(client, before);
    this.requests.set(client, { request, result });
    this.digest ^= requestHash(client, { request, result });
    return result;
  }

  #put(key: number, value: number): void {
    const before = this.values.get(key) ?? 0;
    if (before !== 0) this.digest ^= mix(mix(1, key), before);
    if (value !== 0) this.digest ^= mix(mix(1, key), value);
    if (value === 0) this.values.delete(key);
    else this.values.set(key, value);
  }
}

function requestHash(client: number, { request, result }: { request: number; result: Result }): number {
  return mix(mix(mix(2, client), request), result === 'done' ? 1 : 0);
}
