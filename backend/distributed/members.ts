import { decode, encode } from 'cborg';

/**
 * `active`: takes new shards. `draining`: keeps what it has until all of it lies elsewhere. `drained`: nothing names
 * it; it may be switched off. `removing`: draining, and then to be `removed`. `removed`: its id stays taken, so that
 * its process is refused when it comes back.
 */
export type MemberState = 'active' | 'draining' | 'drained' | 'removing' | 'removed';

/** A shard node as the cluster knows it. */
export interface Member {
  readonly id: number;
  readonly host: string;
  /** Of the shard transport. */
  readonly port: number;
  /** Share of the shards in relation to other members', by capacity; above 0. */
  readonly weight: number;
  readonly state: MemberState;
  /** Version of the set in which its state last changed. */
  readonly sinceVersion: number;
}

/** All shard nodes, in one row: whoever reads it sees one state of it, and changes it by compare-and-set. */
export interface MemberSet {
  /** Grows by one with every change; 0 before the first row was read. */
  readonly version: number;
  /** In order of id. */
  readonly members: readonly Member[];
}

/** Of the row in table `state`. FORMAT.md gives its value. */
export const membersKey: Uint8Array = Buffer.from('members');

const rowVersion = 1;
const states: readonly MemberState[] = ['active', 'draining', 'drained', 'removing', 'removed'];
/** Weights beyond this ratio would make rings too coarse or too big. */
const leastWeight = 0.05;
const mostWeight = 100;
const maxMembers = 1000;

/** Why a change of the members can't be made; nothing was changed. */
export class MemberChangeError extends Error {
  override readonly name = 'MemberChangeError';
  readonly code: 'unknown_member' | 'member_exists' | 'too_few_members' | 'invalid_member' | 'wrong_state';

  constructor(code: MemberChangeError['code'], message: string) {
    super(message);
    this.code = code;
  }
}

export function encodeMembers(set: MemberSet): Uint8Array {
  return encode([
    rowVersion,
    set.version,
    set.members.map((member) => [
      member.id,
      member.host,
      member.port,
      member.weight,
      states.indexOf(member.state),
      member.sinceVersion,
    ]),
  ]);
}

/** @throws Error when the bytes are no member row that this version can read. */
export function decodeMembers(value: Uint8Array): MemberSet {
  const fields: unknown = decode(value);
  if (!Array.isArray(fields) || fields[0] !== rowVersion) {
    throw new Error('the row of the members is of an unknown version');
  }
  const [, version, members] = fields as readonly unknown[];
  if (typeof version !== 'number' || !Array.isArray(members))
    throw new Error('the row of the members is damaged');
  return { version, members: members.map(decodeMember) };
}

function decodeMember(value: unknown): Member {
  if (!Array.isArray(value)) throw new Error('the row of the members is damaged');
  const [id, host, port, weight, state, sinceVersion] = value as readonly unknown[];
  const known = typeof state === 'number' ? states[state] : undefined;
  if (
    typeof id !== 'number' ||
    typeof host !== 'string' ||
    typeof port !== 'number' ||
    typeof weight !== 'number' ||
    typeof sinceVersion !== 'number' ||
    known === undefined
  ) {
    throw new Error('the row of the members is damaged');
  }
  return { id, host, port, weight, state: known, sinceVersion };
}

interface Seed {
  readonly id: number;
  readonly host: string;
  readonly port: number;
  readonly weight?: number | undefined;
}

/** The first set of a cluster: all nodes of its config. */
export function seedMembers(nodes: readonly Seed[]): MemberSet {
  const members = nodes.map((node): Member => ({
    id: node.id,
    host: node.host,
    port: node.port,
    weight: node.weight ?? 1,
    state: 'active',
    sinceVersion: 1,
  }));
  return { version: 1, members: members.sort((a, b) => a.id - b.id) };
}

/** Takes a member in, or one that was drained or removed back. @throws MemberChangeError */
export function addMember(
  set: MemberSet,
  added: { readonly id: number; readonly host: string; readonly port: number; readonly weight: number },
): MemberSet {
  checkWeight(added.weight);
  const found = set.members.find((member) => member.id === added.id);
  if (found !== undefined && found.state !== 'removed') {
    throw new MemberChangeError(
      'member_exists',
      `node ${added.id} is a member already, at ${found.host}:${found.port}; 'replace' changes its address`,
    );
  }
  checkAddress(set, added);
  if (set.members.length >= maxMembers && found === undefined) {
    throw new MemberChangeError('invalid_member', `a cluster has at most ${maxMembers} shard nodes`);
  }
  return withMember(set, { ...added, state: 'active' });
}

/**
 * Begins to empty a member, for good (`remove`) or not. `shards` is how many nodes each object needs.
 * @throws MemberChangeError, also when too few active members would be left
 */
export function emptyMember(
  set: MemberSet,
  change: { readonly id: number; readonly remove: boolean; readonly shards: number },
): MemberSet {
  const member = memberOf(set, change.id);
  if (member.state === 'removing' || (!change.remove && member.state !== 'active')) {
    throw new MemberChangeError('wrong_state', `node ${member.id} is ${member.state} already`);
  }
  const active = set.members.filter((other) => other.state === 'active' && other.id !== member.id).length;
  if (active < change.shards) {
    throw new MemberChangeError(
      'too_few_members',
      `without node ${member.id} ${active} active nodes are left, and each object needs ${change.shards} (data + parity): add a node first`,
    );
  }
  return withMember(set, { ...member, state: change.remove ? 'removing' : 'draining' });
}

/** Takes back a drain or a removal that is under way. @throws MemberChangeError */
export function activateMember(set: MemberSet, id: number): MemberSet {
  const member = memberOf(set, id);
  if (member.state === 'active') throw new MemberChangeError('wrong_state', `node ${id} is active already`);
  return withMember(set, { ...member, state: 'active' });
}

/** The member is at another address now, with its disk or with an empty one. @throws MemberChangeError */
export function replaceMember(
  set: MemberSet,
  at: { readonly id: number; readonly host: string; readonly port: number },
): MemberSet {
  const member = memberOf(set, at.id);
  checkAddress(set, at);
  // The state is as it was, and so is the version since which it is so.
  return changed(set, { ...member, host: at.host, port: at.port });
}

/** @throws MemberChangeError */
export function weighMember(
  set: MemberSet,
  change: { readonly id: number; readonly weight: number },
): MemberSet {
  checkWeight(change.weight);
  return changed(set, { ...memberOf(set, change.id), weight: change.weight });
}

/** What was draining is drained, what was to be removed is removed: called when nothing names these nodes any more. */
export function finishEmptying(set: MemberSet, ids: readonly number[]): MemberSet {
  const done = set.members.map((member): Member => {
    if (!ids.includes(member.id)) return member;
    if (member.state === 'draining') return { ...member, state: 'drained' };
    if (member.state === 'removing') return { ...member, state: 'removed', sinceVersion: set.version + 1 };
    return member;
  });
  return { version: set.version + 1, members: done };
}

/** Whether new shards may go there. */
export function takesShards(member: Member): boolean {
  return member.state === 'active';
}

/** Whether it is to be emptied, or has been. */
export function isEmptying(member: Member): boolean {
  return member.state === 'draining' || member.state === 'removing';
}

function memberOf(set: MemberSet, id: number): Member {
  const found = set.members.find((member) => member.id === id);
  if (found !== undefined && found.state !== 'removed') return found;
  const known = set.members.filter((member) => member.state !== 'removed').map((member) => member.id);
  throw new MemberChangeError('unknown_member', `there is no node ${id}; there are ${known.join(', ')}`);
}

function checkWeight(weight: number): void {
  if (weight >= leastWeight && weight <= mostWeight) return;
  throw new MemberChangeError(
    'invalid_member',
    `weight: ${leastWeight} to ${mostWeight} expected, not ${weight}`,
  );
}

function checkAddress(
  set: MemberSet,
  at: { readonly id: number; readonly host: string; readonly port: number },
): void {
  const other = set.members.find(
    (member) =>
      member.state !== 'removed' && member.id !== at.id && member.host === at.host && member.port === at.port,
  );
  if (other !== undefined) {
    throw new MemberChangeError('invalid_member', `${at.host}:${at.port} is the address of node ${other.id}`);
  }
}

function withMember(set: MemberSet, member: Omit<Member, 'sinceVersion'>): MemberSet {
  return changed(set, { ...member, sinceVersion: set.version + 1 });
}

function changed(set: MemberSet, member: Member): MemberSet {
  const others = set.members.filter((other) => other.id !== member.id);
  return { version: set.version + 1, members: [...others, member].sort((a, b) => a.id - b.id) };
}
