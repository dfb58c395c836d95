import { createHash } from 'node:crypto';

/** A shard node as placement sees it. */
export interface RingMember {
  readonly id: number;
  /** Nodes of one host fail together. */
  readonly host: string;
  /** Share of the shards in relation to other members', by capacity; above 0 (default 1). */
  readonly weight?: number;
}

/** Points on the ring for each unit of weight. */
const virtualNodes = 512;
const maxVirtualNodes = 65_536;
const bytesPerPoint = 6;
const pointsPerDigest = Math.floor(32 / bytesPerPoint);

/**
 * Consistent hashing: each member owns many points of a ring of 2^48 places, and content goes to the members met
 * walking on from its own place. Pure: the same members give the same order on every machine. A member that joins or
 * leaves takes or gives about its share of the content and moves nothing else.
 * (Karger et al., "Consistent Hashing and Random Trees", STOC 1997.)
 */
export class Ring {
  readonly members: readonly RingMember[];
  readonly #points: Float64Array;
  /** For each point the position of its owner in `members`. */
  readonly #owners: Uint32Array;

  /** @throws RangeError for a weight that is not above 0, or an id that occurs twice. */
  constructor(members: readonly RingMember[]) {
    // Sorted, so that two owners of one place rank alike whatever order the members came in.
    this.members = [...members].sort((a, b) => a.id - b.id);
    if (new Set(members.map((member) => member.id)).size !== members.length) {
      throw new RangeError('a node id occurs twice');
    }
    const points: { readonly at: number; readonly owner: number }[] = [];
    this.members.forEach((member, owner) => {
      const weight = member.weight ?? 1;
      if (!(weight > 0)) throw new RangeError(`weight of node ${member.id} must be above 0, not ${weight}`);
      const count = Math.min(Math.max(Math.round(weight * virtualNodes), 1), maxVirtualNodes);
      for (let n = 0; n < count; n += 1) points.push({ at: 0, owner });
      const first = points.length - count;
      let digest = Buffer.alloc(0);
      for (let n = 0; n < count; n += 1) {
        const within = n % pointsPerDigest;
        if (within === 0) {
          digest = createHash('sha256').update(`ring 1, node ${member.id}, point ${n}`).digest();
        }
        points[first + n] = { at: digest.readUIntBE(within * bytesPerPoint, bytesPerPoint), owner };
      }
    });
    points.sort((a, b) => a.at - b.at || a.owner - b.owner);
    this.#points = Float64Array.from(points, (point) => point.at);
    this.#owners = Uint32Array.from(points, (point) => point.owner);
  }

  /**
   * All members in order of preference for this content: as they are met on the ring, but a host's second node only
   * after every host's first, and so on. The first K + M hold its shards; the next ones replace those that fail.
   */
  order(contentId: Uint8Array): readonly RingMember[] {
    const met = this.#walk(contentId);
    const perHost = new Map<string, number>();
    const ranked = met.map((member) => {
      const rank = perHost.get(member.host) ?? 0;
      perHost.set(member.host, rank + 1);
      return { member, rank };
    });
    return ranked.sort((a, b) => a.rank - b.rank).map((entry) => entry.member);
  }

  #walk(contentId: Uint8Array): RingMember[] {
    const place = Buffer.from(contentId.buffer, contentId.byteOffset, contentId.byteLength).readUIntBE(
      0,
      bytesPerPoint,
    );
    let low = 0;
    let high = this.#points.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#points[middle] ?? 0) < place) low = middle + 1;
      else high = middle;
    }
    const seen = new Uint8Array(this.members.length);
    const met: RingMember[] = [];
    for (let step = 0; step < this.#owners.length && met.length < this.members.length; step += 1) {
      const owner = this.#owners[(low + step) % this.#owners.length] ?? 0;
      const member = this.members[owner];
      if (member === undefined || seen[owner] === 1) continue;
      seen[owner] = 1;
      met.push(member);
    }
    return met;
  }
}

/**
 * The placement that uses the nodes `chosen` (in order of preference) and moves as little as possible from
 * `previous`: a node that stays keeps its shard index, the others take the free indexes in order; null where there
 * are too few.
 */
export function keepIndexes(
  previous: readonly (number | null)[],
  chosen: readonly number[],
): (number | null)[] {
  const staying = new Set(previous.filter((node) => node !== null && chosen.includes(node)));
  const joining = chosen.filter((node) => !staying.has(node)).values();
  return previous.map((node) => (node !== null && staying.has(node) ? node : (joining.next().value ?? null)));
}
