import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  IdentityDamagedError,
  loadIdentity,
  mintIdentity,
  saveIdentity,
  type JoinsOnly,
  type ReplicaIdentity,
} from './replica_identity.ts';

/**
 * A replica's directory that can't be trusted is never used again and never thrown away at once: what is in it moves to
 * `damaged-<number>/` within it, for whoever wants to look, and the replica begins anew under another identity. The newest two are
 * kept. `damaged.json` says that this is to be done, or under way; it is the last to move.
 */
const markerName = 'damaged.json';
const asideName = /^damaged-(\d{6})$/;
const keptDirectories = 2;
const markerFormat = 1;

export interface Damage {
  /** Of the directory that it moves to. */
  readonly number: number;
  readonly reason: string;
}

/** Says durably that the directory can't be trusted, so that the next start doesn't. The first to say so counts. */
export async function noteDamage(directory: string, reason: string, nowMs: number): Promise<Damage> {
  const noted = await notedDamage(directory);
  if (noted !== undefined) return noted;
  const number = ((await asideNumbers(directory)).at(-1) ?? 0) + 1;
  const text = JSON.stringify({ format: markerFormat, number, reason, time: new Date(nowMs).toISOString() });
  const temporary = join(directory, `${markerName}.tmp`);
  const file = await open(temporary, 'w', 0o600);
  try {
    await file.writeFile(`${text}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, join(directory, markerName));
  await syncDirectory(directory);
  return { number, reason };
}

/** What was noted; undefined: nothing. */
export async function notedDamage(directory: string): Promise<Damage | undefined> {
  let text: string;
  try {
    text = await readFile(join(directory, markerName), 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    const { number, reason } = JSON.parse(text) as { readonly number?: unknown; readonly reason?: unknown };
    if (Number.isSafeInteger(number) && typeof reason === 'string') return { number: Number(number), reason };
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  const number = ((await asideNumbers(directory)).at(-1) ?? 0) + 1;
  return { number, reason: 'its note of what was damaged is damaged too' };
}

/**
 * Moves everything aside and mints a new identity, which may join its cluster but never found one. After a crash it is to be
 * called again. Resolves with the directory that holds what was there.
 */
export async function setAside(directory: string, slot: number, damage: Damage): Promise<string> {
  const name = `damaged-${String(damage.number).padStart(6, '0')}`;
  const aside = join(directory, name);
  await removeOldest(directory, damage.number);
  await mkdir(aside, { recursive: true });
  if (!(await isBegunAnew(directory, slot, damage.number))) {
    const joinsOnly = await formerCluster(directory, slot);
    for (const entry of await readdir(directory)) {
      if (entry === markerName || entry === 'lost+found' || asideName.test(entry)) continue;
      // The identity last: what it says of the cluster is needed until the new one is there.
      if (entry !== 'identity.json') await rename(join(directory, entry), join(aside, entry));
    }
    await keepIdentity(directory, aside);
    await syncDirectory(aside);
    const minted = mintIdentity(slot, { joinsOnly, setAside: damage.number });
    await saveIdentity(directory, minted);
  }
  await rename(join(directory, markerName), join(aside, markerName));
  await syncDirectory(aside);
  await syncDirectory(directory);
  return aside;
}

/** Moves the state alone aside: for when the log has all that it was made of. */
export async function setStateAside(directory: string): Promise<string> {
  const number = ((await asideNumbers(directory)).at(-1) ?? 0) + 1;
  await removeOldest(directory, number);
  const aside = join(directory, `damaged-${String(number).padStart(6, '0')}`);
  await mkdir(aside);
  for (const entry of await readdir(directory)) {
    if (/^state-\d{6}$/.test(entry)) await rename(join(directory, entry), join(aside, entry));
  }
  await syncDirectory(aside);
  await syncDirectory(directory);
  return aside;
}

/** Whether the identity is already that of the replica which takes the place of what is set aside. */
async function isBegunAnew(directory: string, slot: number, number: number): Promise<boolean> {
  const identity = await identityOf(directory, slot);
  return identity?.setAside === number;
}

/** Undefined: it never belonged to a cluster, so that it may found one. */
async function formerCluster(directory: string, slot: number): Promise<JoinsOnly | undefined> {
  const identity = await identityOf(directory, slot);
  if (identity === undefined) return { clusterId: undefined };
  return identity.cluster === undefined ? identity.joinsOnly : { clusterId: identity.cluster.id };
}

async function identityOf(directory: string, slot: number): Promise<ReplicaIdentity | undefined> {
  try {
    return await loadIdentity(directory, slot, { mint: false });
  } catch (error) {
    if (error instanceof IdentityDamagedError) return undefined;
    throw error;
  }
}

/** A copy by another name, so that the original is replaced by the new one in a single step. */
async function keepIdentity(directory: string, aside: string): Promise<void> {
  let text: Buffer;
  try {
    text = await readFile(join(directory, 'identity.json'));
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return;
    throw error;
  }
  const file = await open(join(aside, 'identity.json'), 'w', 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function removeOldest(directory: string, next: number): Promise<void> {
  const others = (await asideNumbers(directory)).filter((number) => number !== next);
  for (const number of others.slice(0, Math.max(0, others.length - keptDirectories + 1))) {
    const name = `damaged-${String(number).padStart(6, '0')}`;
    await rm(join(directory, name), { recursive: true, force: true });
  }
}

async function asideNumbers(directory: string): Promise<number[]> {
  const names = await readdir(directory);
  return names
    .map((name) => asideName.exec(name)?.[1])
    .filter((digits) => digits !== undefined)
    .map(Number)
    .sort((a, b) => a - b);
}

async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
