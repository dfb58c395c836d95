import { open, rename, rm, type FileHandle } from 'node:fs/promises';
import { createReadStream } from 'node:fs';
import { dirname } from 'node:path';
import { decodeBackup, type BackupEnd, type BackupHead, type BackupRow } from '../../s3db/backup_file.ts';
import { encodeBatch } from '../../s3db/command.ts';
import type { Operation } from '../../s3db/database.ts';
import { syncDirectory } from '../../s3db/durable_files.ts';
import { restoreIdOf } from '../../s3db/restore.ts';
import { UsageError } from '../errors.ts';
import { DatabaseRefusedError, post, type DatabaseAdmin } from './client.ts';
import { isThere } from './is_there.ts';

/** Rows and bytes of one part of a restore. They fix where a part ends, so that a restore can be gone on with. */
const partRows = 5000;
const partBytes = 2 * 1024 * 1024;
const stallMs = 60_000;
const finishMs = 3_600_000;
const progressRows = 100_000;

/** Streams all of the database into a file: whole and checked when this resolves, else not there. */
export async function backUp(database: DatabaseAdmin, file: string): Promise<BackupHead & BackupEnd> {
  if (await isThere(file)) throw new UsageError(`${file} is there already`);
  const partial = `${file}.part`;
  const stalled = new AbortController();
  const timer = setTimeout(() => stalled.abort(new Error('nothing came for a minute')), stallMs);
  const target = await open(partial, 'w', 0o600);
  try {
    const leader = await database.leader();
    const pieces = await database.download(leader, '/v1/backup', stalled.signal);
    const backup = await decodeBackup(copied(pieces, target, timer));
    await target.sync();
    await target.close();
    await rename(partial, file);
    await syncDirectory(dirname(file));
    return backup;
  } catch (error) {
    // Closed already, or of no more use: what failed before is what counts.
    await target.close().catch(() => undefined);
    await rm(partial, { force: true });
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

/** Puts a backup into an empty database. An interrupted one is gone on with by the same call. */
export async function restore(
  database: DatabaseAdmin,
  file: string,
  print: (line: string) => void,
): Promise<BackupHead & BackupEnd> {
  const backup = await readBackup(file);
  const id = restoreIdOf(backup.contents);
  const begun = await database.askLeader(post('/v1/restore/begin', { id }));
  const taken = Number(begun['parts']);
  if (taken > 0) print(`going on behind part ${taken}`);
  let number = 0;
  let rows = 0;
  for await (const operations of partsOf(file)) {
    if (number >= taken) {
      const body = Buffer.from(encodeBatch({ conditions: [], operations }));
      await database.askLeader({
        method: 'POST',
        path: `/v1/restore/part/${id}/${number}`,
        headers: {},
        body,
      });
    }
    const before = rows;
    rows += operations.length;
    if (Math.floor(rows / progressRows) > Math.floor(before / progressRows)) {
      print(`${rows} of ${backup.rows} rows`);
    }
    number++;
  }
  const { contents } = backup;
  await database.askLeader(post('/v1/restore/finish', { id, rows: backup.rows, contents }), finishMs);
  return backup;
}

/** Checks all of a backup. @throws BackupDamagedError, UsageError when there is no such file. */
export async function readBackup(file: string): Promise<BackupHead & BackupEnd> {
  if (!(await isThere(file))) throw new UsageError(`there is no ${file}`);
  return decodeBackup(createReadStream(file, { highWaterMark: 1024 * 1024 }));
}

/** The file's rows again, as what a part of a restore takes. */
async function* partsOf(file: string): AsyncGenerator<readonly Operation[]> {
  const parts: Operation[][] = [];
  let part: Operation[] = [];
  let bytes = 0;
  const frames = framesOf(file);
  for await (const rows of frames) {
    for (const [levelKey, value] of rows) {
      const operation = toPut(levelKey, value);
      if (part.length > 0 && (part.length >= partRows || bytes + value.length > partBytes)) {
        parts.push(part);
        part = [];
        bytes = 0;
      }
      part.push(operation);
      bytes += levelKey.length + value.length;
    }
    yield* parts.splice(0);
  }
  if (part.length > 0) yield part;
}

/** Turns the calls of `decodeBackup` into something to iterate: one frame's rows at a time. */
async function* framesOf(file: string): AsyncGenerator<readonly BackupRow[]> {
  let give: ((rows: readonly BackupRow[] | undefined) => void) | undefined;
  let taken: (() => void) | undefined;
  let next = new Promise<readonly BackupRow[] | undefined>((resolve) => (give = resolve));
  const source = createReadStream(file, { highWaterMark: 1024 * 1024 });
  const done = decodeBackup(source, {
    rows: (rows) =>
      new Promise<void>((resolve) => {
        taken = resolve;
        give?.(rows);
      }),
  });
  done.then(
    () => give?.(undefined),
    () => give?.(undefined),
  );
  try {
    for (let rows = await next; rows !== undefined; rows = await next) {
      yield rows;
      next = new Promise((resolve) => (give = resolve));
      taken?.();
    }
    await done;
  } finally {
    source.destroy();
  }
}

function toPut(levelKey: Uint8Array, value: Uint8Array): Operation {
  const at = levelKey.indexOf(0);
  if (at < 1) throw new DatabaseRefusedError('the backup has a row without a table');
  const table = Buffer.from(levelKey.subarray(0, at)).toString('latin1');
  return { type: 'put', table, key: levelKey.subarray(at + 1), value };
}

async function* copied(
  pieces: AsyncIterable<Uint8Array>,
  target: FileHandle,
  stall: NodeJS.Timeout,
): AsyncGenerator<Uint8Array> {
  for await (const piece of pieces) {
    stall.refresh();
    await target.writeFile(piece);
    yield piece;
  }
}
