import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { Script } from './testing/script.ts';

/**
 * The scripts in testdata/ tell what the core does, for a reader to follow. Each command is followed by `----` and by what came of it.
 * `UPDATE_GOLDEN=1 npx vitest run s3db/raft/golden.test.ts` writes down what comes of them now: read the difference before it is
 * committed.
 */
const folder = new URL('./testdata/', import.meta.url);
const update = process.env['UPDATE_GOLDEN'] === '1';

function replay(text: string): string {
  const script = new Script();
  let out = '';
  let skipping = false;
  for (const line of text.split('\n')) {
    if (skipping) {
      // Up to the empty line are the expected results.
      if (line !== '') continue;
      skipping = false;
    }
    if (line === '----') {
      skipping = true;
    } else if (line === '' || line.startsWith('#')) {
      out += `${line}\n`;
    } else {
      out += `${line}\n----\n${script.run(line)}`;
    }
  }
  return `${out.trimEnd()}\n`;
}

test.each(readdirSync(folder).sort())('%s', (name) => {
  const file = new URL(name, folder);
  const text = readFileSync(file, 'utf8');
  const result = replay(text);
  if (update) writeFileSync(file, result);
  else expect(result).toBe(text);
});
