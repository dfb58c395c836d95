import { createCipheriv, createHash } from 'node:crypto';
import type { ShardKey } from '../../wal/shard_storage.ts';

/** Bytes of one version of a shard: made from its name and version, so that what comes back can be told apart. */
export interface Version {
  readonly name: number;
  readonly version: number;
  readonly sizeBytes: number;
}

/** A state that a shard may be in; `undefined` stands for absent. */
export type State = Version | undefined;

const zeros = Buffer.alloc(64 * 1024);

export function keyOf(name: number): ShardKey {
  return { objectHash: createHash('sha256').update(String(name)).digest(), index: name % 256 };
}

/** The bytes of a version, in chunks. */
export function* contentOf({ name, version, sizeBytes }: Version): Generator<Buffer> {
  const key = createHash('sha256').update(`${name}/${version}`).digest().subarray(0, 16);
  const stream = createCipheriv('aes-128-ctr', key, Buffer.alloc(16));
  for (let left = sizeBytes; left > 0; left -= zeros.length)
    yield stream.update(zeros.subarray(0, Math.min(left, zeros.length)));
}

/**
 * What may be there: after an acknowledged put or delete just that state, and beside it whatever was begun since and
 * never answered. One shard is changed by one caller at a time.
 */
export class ShardLedger {
  readonly #states = new Map<number, State[]>();
  readonly #busy = new Set<number>();
  #nextVersion = 1;

  get names(): number[] {
    return [...this.#states.keys()];
  }

  /** @returns what ends the claim, or undefined when another has it. */
  claim(name: number): (() => void) | undefined {
    if (this.#busy.has(name)) return undefined;
    this.#busy.add(name);
    return () => this.#busy.delete(name);
  }

  possible(name: number): readonly State[] {
    return this.#states.get(name) ?? [undefined];
  }

  /** From now on the shard may be absent or this. */
  begin(name: number, sizeBytes: number | undefined): State {
    const state = sizeBytes === undefined ? undefined : { name, version: this.#nextVersion++, sizeBytes };
    this.#states.set(name, [...this.possible(name), state]);
    return state;
  }

  /** It was acknowledged, or seen when nothing could still change it. */
  settle(name: number, state: State): void {
    this.#states.set(name, [state]);
  }
}

/** Which of the possible states these bytes are. @throws Error when they are none of them */
export function recognise(
  name: number,
  seen: { readonly bytes: Buffer | undefined; readonly possible: readonly State[] },
): State {
  const { bytes, possible } = seen;
  for (const state of possible) {
    if (bytes === undefined ? state === undefined : state !== undefined && holds(bytes, state)) return state;
  }
  const states = possible
    .map((state) => (state === undefined ? 'absent' : JSON.stringify(state)))
    .join(' or ');
  const found =
    bytes === undefined
      ? 'is absent'
      : `has ${bytes.length} bytes that begin with ${bytes.subarray(0, 16).toString('hex')}`;
  throw new Error(`shard ${name} ${found}; it should be ${states}`);
}

function holds(bytes: Buffer, version: Version): boolean {
  if (bytes.length !== version.sizeBytes) return false;
  let at = 0;
  for (const piece of contentOf(version)) {
    if (!bytes.subarray(at, at + piece.length).equals(piece)) return false;
    at += piece.length;
  }
  return true;
}
