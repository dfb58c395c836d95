import { mkdir, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { hasCode, replaceFile, syncDirectory, writeSynced } from './durable_files.ts';
import { NumberedDirectories } from './numbered_directories.ts';
import {
  IdentityDamagedError,
  loadIdentity,
  mintIdentity,
  saveIdentity,
  type JoinsOnly,
  type ReplicaIdentity,
} from './replica_identity.ts';
import { stateDirectories } from './state_directory.ts';

/**
 * A replica's directory that can't be trusted is never used again and never thrown away at once: what is in it moves to
 * `damaged-<number>/` within it, for whoever wants to look, and the replica begins anew under another identity. The newest two are
 * kept. `damaged.json` says that this is to be done, or under way; it is the last to move.
 */
const markerName = 'damaged.json';
const asideDirectories = new NumberedDirectories('damaged');
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
  const number = ((await asideDirectories.numbers(directory)).at(-1) ?? 0) + 1;
  const text = JSON.stringify({ format: markerFormat, number, reason, time: new Date(nowMs).toISOString() });
  await replaceFile(join(directory, markerName), {
    temporary: join(directory, `${markerName}.tmp`),
    content: `${text}\n`,
  });
  return { number, reason };
}

/** What was noted; undefined: nothing. */
export async function notedDamage(directory: string): Promise<Damage | undefined> {
  let text: string;
  try {
    text = await readFile(join(directory, markerName), 'utf8');
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
  try {
    const { number, reason } = JSON.parse(text) as { readonly number?: unknown; readonly reason?: unknown };
    if (Number.isSafeInteger(number) && typeof reason === 'string') return { number: Number(number), reason };
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  const number = ((await asideDirectories.numbers(directory)).at(-1) ?? 0) + 1;
  return { number, reason: 'its note of what was damaged is damaged too' };
}

/**
 * Moves everything aside and mints a new identity, which may join its cluster but never found one. After a crash it is to be
 * called again. Resolves with the directory that holds what was there.
 */
export async function setAside(directory: string, slot: number, damage: Damage): Promise<string> {
  const aside = asideDirectories.path(directory, damage.number);
  await removeOldest(directory, damage.number);
  await mkdir(aside, { recursive: true });
  if (!(await isBegunAnew(directory, slot, damage.number))) {
    const joinsOnly = await formerCluster(directory, slot);
    for (const entry of await readdir(directory)) {
      if (entry === markerName || entry === 'lost+found' || asideDirectories.has(entry)) continue;
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
  const number = ((await asideDirectories.numbers(directory)).at(-1) ?? 0) + 1;
  await removeOldest(directory, number);
  const aside = asideDirectories.path(directory, number);
  await mkdir(aside);
  for (const entry of await readdir(directory)) {
    if (stateDirectories.has(entry)) await rename(join(directory, entry), join(aside, entry));
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
    if (hasCode(error, 'ENOENT')) return;
    throw error;
  }
  await writeSynced(join(aside, 'identity.json'), text);
}

async function removeOldest(directory: string, next: number): Promise<void> {
  const others = (await asideDirectories.numbers(directory)).filter((number) => number !== next);
  for (const number of others.slice(0, Math.max(0, others.length - keptDirectories + 1))) {
    await rm(asideDirectories.path(directory, number), { recursive: true, force: true });
  }
}
