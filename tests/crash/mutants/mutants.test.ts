import { readFile } from 'node:fs/promises';
import { expect, it } from 'vitest';
import { mutants } from './mutants.ts';

it.each(mutants)("'$name' fits exactly one place", async ({ file, find }) => {
  const source = await readFile(new URL(`../../../${file}`, import.meta.url), 'utf8');
  expect(source.split(find)).toHaveLength(2);
});
