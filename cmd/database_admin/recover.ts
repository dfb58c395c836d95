import { join } from 'node:path';
import { createInterface } from 'node:readline/promises';
import { inspectReplica, mostAdvanced, recoverFrom, supersede, type Survivor } from '../../s3db/recover.ts';
import type { Config } from '../config/config.ts';
import { isThere } from './is_there.ts';
import { exitCodes, UsageError } from '../errors.ts';

interface RecoverOptions {
  /** Ids of the survivors to choose from; undefined: every [[db]] whose directory is on this host. */
  readonly ids: readonly number[] | undefined;
  /** Don't ask. */
  readonly yes: boolean;
  readonly print: (line: string) => void;
  readonly nowMs: number;
}

/**
 * Makes a new cluster from the most advanced of the survivors' directories on this host, which must be down, once a majority of
 * the voters is lost for good. Says first what may be missing, and asks. @returns the exit code
 */
export async function recover(config: Config, options: RecoverOptions): Promise<number> {
  const { print, nowMs } = options;
  const survivors = await survivorsOf(config, options.ids);
  const chosen = mostAdvanced(survivors);
  if (chosen === undefined) {
    throw new UsageError(`${config.file}: none of its [[db]] has a directory on this host`);
  }
  for (const survivor of survivors) print(describe(survivor));
  const clusters = new Set(survivors.map(({ clusterId }) => clusterId));
  if (clusters.size > 1) {
    throw new UsageError('they are not of one cluster: name those to choose from with -db-node I,J');
  }
  const majority = Math.floor(chosen.voters / 2) + 1;
  if (survivors.length >= majority) {
    throw new UsageError(
      `${survivors.length} of ${chosen.voters} voters are here, a majority: start them, nothing needs to be recovered`,
    );
  }
  for (const line of consequences(chosen, survivors)) print(line);
  if (!options.yes && !(await agreed(chosen))) {
    print('nothing was changed');
    return exitCodes.failure;
  }
  await recoverFrom(chosen, nowMs);
  for (const other of survivors) if (other !== chosen) await supersede(other, chosen, nowMs);
  print(`db ${chosen.slot} is the only voter of a new cluster: start it, then the others`);
  return exitCodes.ok;
}

async function survivorsOf(config: Config, ids: readonly number[] | undefined): Promise<Survivor[]> {
  const survivors: Survivor[] = [];
  for (const id of ids ?? []) {
    if (!config.db.some((db) => db.id === id)) {
      throw new UsageError(`-db-node: ${config.file} has no [[db]] with id ${id}`);
    }
  }
  for (const { id, path } of config.db) {
    if (ids !== undefined && !ids.includes(id)) continue;
    if (ids === undefined && !(await isThere(join(path, 'identity.json')))) continue;
    try {
      survivors.push(await inspectReplica(path, id));
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      throw new UsageError(`db ${id} can't be looked at: ${text}`);
    }
  }
  return survivors;
}

function describe(survivor: Survivor): string {
  const { slot, lastIndex, lastTerm, commit, directory } = survivor;
  return `db ${slot}: last entry ${lastIndex} of term ${lastTerm}, known to be committed up to ${commit}, last write ${timeOf(survivor)} (${directory})`;
}

function consequences(chosen: Survivor, survivors: readonly Survivor[]): string[] {
  const others = survivors.filter((one) => one !== chosen).map(({ slot }) => slot);
  return [
    `${survivors.length} of ${chosen.voters} voters are here. A new cluster would be made of db ${chosen.slot}, with all that its log holds.`,
    `What was written after entry ${chosen.lastIndex} of term ${chosen.lastTerm} (${timeOf(chosen)}) is lost, also if it was acknowledged; nothing here tells how much that is.`,
    ...(others.length === 0
      ? []
      : [`db ${others.join(', ')} will set aside what it has, and be filled anew.`]),
    'Replicas of the old cluster that are found again do the same when they meet the new one: switch them off until then.',
    "Nothing is deleted as an orphan until 's3d admin audit resume'.",
  ];
}

function timeOf({ lastWriteMs }: Survivor): string {
  return lastWriteMs === 0 ? 'never' : new Date(lastWriteMs).toISOString();
}

async function agreed(chosen: Survivor): Promise<boolean> {
  if (!process.stdin.isTTY) throw new UsageError('recover: -yes is needed where nobody can be asked');
  const lines = createInterface({ input: process.stdin, output: process.stdout });
  try {
    const answer = await lines.question(
      `Give up the lost replicas and go on with db ${chosen.slot}? (yes/no) `,
    );
    return answer.trim() === 'yes';
  } finally {
    lines.close();
  }
}
