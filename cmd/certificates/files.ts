import { randomBytes } from 'node:crypto';
import { link, mkdir, open, readFile, rename, stat, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { syncDirectory } from '../../s3db/durable_files.ts';
import { CertificateError } from './errors.ts';

function errorCode(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code;
}

/** A file's text, or undefined if there is none. Other errors are CertificateErrors. */
export async function readIfPresent(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw new CertificateError('unreadable', file, `can't be read (${errorCode(error) ?? String(error)})`);
  }
}

/** A file's text. @throws CertificateError `missing` with the hint, or `unreadable`. */
export async function readRequired(file: string, hint: string): Promise<string> {
  const text = await readIfPresent(file);
  if (text === undefined) throw new CertificateError('missing', file, `there is no such file; ${hint}`);
  return text;
}

/** @throws CertificateError `exposed` if everybody on this machine may read or write the file. */
export async function requirePrivate(file: string): Promise<void> {
  const { mode } = await stat(file);
  if ((mode & 0o007) !== 0) {
    const shown = (mode & 0o777).toString(8).padStart(4, '0');
    throw new CertificateError(
      'exposed',
      file,
      `is open to everybody on this machine (mode ${shown}); run: chmod 600 ${file}`,
    );
  }
}

/** Runs what writes a file. @throws CertificateError `unwritable`, in place of the system's own errors. */
async function writing<T>(file: string, write: () => Promise<T>): Promise<T> {
  try {
    return await write();
  } catch (error) {
    const code = errorCode(error);
    if (error instanceof CertificateError || code === undefined) throw error;
    throw new CertificateError('unwritable', file, `can't be written (${code})`);
  }
}

/** Makes a directory and those above it, where they are missing. @throws CertificateError `unwritable` */
export async function ensureDirectory(directory: string): Promise<void> {
  await writing(directory, () => mkdir(directory, { recursive: true }));
}

async function writeTemporary(file: string, text: string, mode: number): Promise<string> {
  const temporary = join(dirname(file), `.tmp-${process.pid}-${randomBytes(8).toString('hex')}`);
  const handle = await open(temporary, 'wx', mode);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } catch (error) {
    await unlink(temporary);
    throw error;
  } finally {
    await handle.close();
  }
  return temporary;
}

/**
 * Creates a file with all of its text or not at all. If another process was first, its file stays.
 *
 * @returns the text that is in the file now, and whether it is ours.
 * @throws CertificateError `unwritable`
 */
export async function createOnce(
  file: string,
  options: { text: string; mode: number },
): Promise<{ text: string; created: boolean }> {
  return await writing(file, () => linkOnce(file, options));
}

async function linkOnce(
  file: string,
  options: { text: string; mode: number },
): Promise<{ text: string; created: boolean }> {
  const temporary = await writeTemporary(file, options.text, options.mode);
  try {
    await link(temporary, file);
  } catch (error) {
    if (errorCode(error) !== 'EEXIST') throw error;
    return { text: await readRequired(file, 'it was removed a moment ago; try again'), created: false };
  } finally {
    await unlink(temporary);
  }
  await syncDirectory(dirname(file));
  return { text: options.text, created: true };
}

/**
 * Puts a new text in a file's place; a reader sees the old or the new one, whole.
 *
 * @throws CertificateError `unwritable`
 */
export async function replaceFile(file: string, options: { text: string; mode: number }): Promise<void> {
  await writing(file, async () => {
    const temporary = await writeTemporary(file, options.text, options.mode);
    try {
      await rename(temporary, file);
    } catch (error) {
      await unlink(temporary);
      throw error;
    }
    await syncDirectory(dirname(file));
  });
}
