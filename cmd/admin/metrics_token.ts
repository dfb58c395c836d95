import { createHash, timingSafeEqual } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { UsageError } from '../errors.ts';

const minCharacters = 16;

/**
 * Recognizes `Authorization: Bearer TOKEN`; without a token, nothing. Digests are compared, so that neither the time
 * nor the length tells anything.
 */
export function bearerToken(token: string | undefined): (authorization: string | undefined) => boolean {
  if (token === undefined) return () => false;
  const wanted = digest(token);
  return (authorization) => {
    const [, given] = /^Bearer +(\S+) *$/i.exec(authorization ?? '') ?? [];
    return given !== undefined && timingSafeEqual(digest(given), wanted);
  };
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text, 'utf8').digest();
}

/**
 * The token that stands in a file of `[admin] metrics_token_file`; undefined where none is configured.
 * @throws UsageError where the file can't be read, can be read by everyone, or holds no token of at least 16 characters.
 */
export async function loadMetricsToken(file: string): Promise<string | undefined> {
  if (file === '') return undefined;
  const { mode, text } = await read(file);
  if ((mode & 0o007) !== 0) {
    throw new UsageError(`${file}: [admin] metrics_token_file can be read by everyone; chmod 0640 or 0600`);
  }
  const token = text.trim();
  if (token.length < minCharacters || /\s/.test(token)) {
    throw new UsageError(
      `${file}: [admin] metrics_token_file must hold one token of at least ${minCharacters} characters`,
    );
  }
  return token;
}

async function read(file: string): Promise<{ readonly mode: number; readonly text: string }> {
  try {
    return { mode: (await stat(file)).mode, text: await readFile(file, 'utf8') };
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? String(error);
    throw new UsageError(`${file}: [admin] metrics_token_file can't be read (${code})`);
  }
}
