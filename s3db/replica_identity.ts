import { createHash, randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { hasCode, replaceFile } from './durable_files.ts';
import type { ReplicaId } from './raft/types.ts';
import { stateDirectories } from './state_directory.ts';

/** Which incarnation holds which slot (the `id` of a `[[db]]`). */
export interface Member {
  readonly slot: number;
  readonly replicaId: ReplicaId;
}

/** The cluster that a replica belongs to, as fixed at the cluster's birth. */
export interface ClusterIdentity {
  /** 16 bytes in hex. */
  readonly id: string;
  /** The first voters. */
  readonly founders: readonly Member[];
  /** Ids under which the cluster went before its majority was lost and a survivor made a new one. */
  readonly former: readonly string[];
}

/** A replica in the place of one that belonged to a cluster: it may join that, and never found another. */
export interface JoinsOnly {
  /** Undefined when the identity that knew it is gone. */
  readonly clusterId: string | undefined;
}

/**
 * Who a replica is: a random incarnation minted with its directory and, once it has one, its cluster. A directory that
 * is lost takes its identity with it, so that an empty replica can never vote for the one that was there before.
 */
export interface ReplicaIdentity {
  readonly replicaId: ReplicaId;
  readonly slot: number;
  readonly cluster: ClusterIdentity | undefined;
  /** The latest known holder of each slot. */
  readonly members: readonly Member[];
  /** Set until it belongs to a cluster. */
  readonly joinsOnly: JoinsOnly | undefined;
  /** Number of the `damaged-` directory in whose place this replica came. */
  readonly setAside: number | undefined;
}

/** The identity can't be read, or is gone although there is a log or a state. */
export class IdentityDamagedError extends Error {
  override readonly name = 'IdentityDamagedError';
}

/** What all replicas of a cluster must be configured alike with. */
interface ConfiguredReplica {
  readonly id: number;
  readonly host: string;
  readonly raftPort: number;
}

const fileName = 'identity.json';
const format = 1;

/**
 * Reads the directory's identity, minting one for an empty directory.
 * @throws IdentityDamagedError; Error when the directory is another slot's.
 */
export async function loadIdentity(
  directory: string,
  slot: number,
  options: { readonly mint: boolean } = { mint: true },
): Promise<ReplicaIdentity> {
  await mkdir(directory, { recursive: true });
  const path = join(directory, fileName);
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error;
    const names = await readdir(directory);
    if (!options.mint || names.some((name) => name === 'log' || stateDirectories.has(name))) {
      throw new IdentityDamagedError(`${path} is gone`);
    }
    const minted = mintIdentity(slot);
    await saveIdentity(directory, minted);
    return minted;
  }
  const identity = parseIdentity(text, path);
  if (identity.slot !== slot) {
    throw new Error(
      `${path} belongs to db ${identity.slot}, not to db ${slot}: each [[db]] needs a path of its own`,
    );
  }
  return identity;
}

/** An identity that nobody had before. */
export function mintIdentity(
  slot: number,
  place: { readonly joinsOnly: JoinsOnly | undefined; readonly setAside: number | undefined } = {
    joinsOnly: undefined,
    setAside: undefined,
  },
): ReplicaIdentity {
  return { replicaId: mintReplicaId(), slot, cluster: undefined, members: [], ...place };
}

/** All of it or nothing, durably. */
export async function saveIdentity(directory: string, identity: ReplicaIdentity): Promise<void> {
  const { replicaId, slot, cluster, members, joinsOnly, setAside } = identity;
  const body = JSON.stringify({
    format,
    replicaId: replicaId.toString(),
    slot,
    cluster: cluster === undefined ? null : clusterToJson(cluster),
    members: members.map(memberToJson),
    ...(joinsOnly === undefined ? {} : { joins: { cluster: joinsOnly.clusterId ?? null } }),
    ...(setAside === undefined ? {} : { setAside }),
  });
  const path = join(directory, fileName);
  await replaceFile(path, { temporary: `${path}.tmp`, content: `${body}\n${checksum(body)}\n` });
}

interface MemberJson {
  readonly slot: number;
  readonly replicaId: string;
}

export function memberToJson(member: Member): MemberJson {
  return { slot: member.slot, replicaId: member.replicaId.toString() };
}

/** Undefined unless it is one. */
export function memberFromJson(json: unknown): Member | undefined {
  if (typeof json !== 'object' || json === null || !('slot' in json) || !('replicaId' in json))
    return undefined;
  const { slot, replicaId } = json;
  if (!Number.isSafeInteger(slot) || typeof replicaId !== 'string' || !/^[1-9]\d{0,18}$/.test(replicaId)) {
    return undefined;
  }
  return { slot: Number(slot), replicaId: BigInt(replicaId) };
}

export function clusterToJson(cluster: ClusterIdentity): object {
  const { id, founders, former } = cluster;
  return { id, founders: founders.map(memberToJson), ...(former.length === 0 ? {} : { former }) };
}

/** Undefined unless it is one. */
export function clusterFromJson(json: unknown): ClusterIdentity | undefined {
  if (typeof json !== 'object' || json === null || !('id' in json) || !('founders' in json)) return undefined;
  const { id, founders } = json;
  if (!isClusterId(id) || !Array.isArray(founders)) return undefined;
  const former = 'former' in json && Array.isArray(json.former) ? json.former.filter(isClusterId) : [];
  const members = founders.map(memberFromJson).filter((member) => member !== undefined);
  if (members.length !== founders.length || members.length === 0) return undefined;
  return { id, founders: members, former };
}

function isClusterId(value: unknown): value is string {
  return typeof value === 'string' && /^[0-9a-f]{32}$/.test(value);
}

/** SHA-256 over who is configured where. */
export function configurationDigest(replicas: readonly ConfiguredReplica[]): string {
  const sorted = replicas.toSorted((a, b) => a.id - b.id).map((r) => [r.id, r.host, r.raftPort]);
  return createHash('sha256').update(JSON.stringify(sorted)).digest('hex');
}

function parseIdentity(text: string, path: string): ReplicaIdentity {
  const damaged = (what: string): IdentityDamagedError => new IdentityDamagedError(`${path}: ${what}`);
  const [body = '', sum] = text.split('\n');
  if (sum !== checksum(body)) throw damaged('the checksum does not match');
  const json: unknown = JSON.parse(body);
  if (typeof json !== 'object' || json === null || !('format' in json)) throw damaged('not an identity');
  // The checksum holds, so a newer program wrote it.
  if (json.format !== format) throw new Error(`${path}: a format that is not known here`);
  const member = memberFromJson(json);
  if (member === undefined) throw damaged('not an identity');
  const cluster = 'cluster' in json && json.cluster !== null ? clusterFromJson(json.cluster) : undefined;
  if ('cluster' in json && json.cluster !== null && cluster === undefined) throw damaged('not a cluster');
  const members = 'members' in json && Array.isArray(json.members) ? json.members.map(memberFromJson) : [];
  return {
    ...member,
    cluster,
    members: members.filter((one) => one !== undefined),
    joinsOnly: joinsOnlyOf(json),
    setAside: 'setAside' in json && Number.isSafeInteger(json.setAside) ? Number(json.setAside) : undefined,
  };
}

function joinsOnlyOf(json: object): JoinsOnly | undefined {
  if (!('joins' in json) || typeof json.joins !== 'object' || json.joins === null) return undefined;
  const clusterId = 'cluster' in json.joins ? json.joins.cluster : undefined;
  return { clusterId: isClusterId(clusterId) ? clusterId : undefined };
}

function checksum(body: string): string {
  return createHash('sha256').update(body).digest('hex').slice(0, 16);
}

function mintReplicaId(): ReplicaId {
  for (;;) {
    const id = randomBytes(8).readBigUInt64BE() & 0x7fff_ffff_ffff_ffffn;
    if (id !== 0n) return id;
  }
}
