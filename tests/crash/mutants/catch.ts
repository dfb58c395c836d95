import { fork } from 'node:child_process';
import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { text } from 'node:stream/consumers';
import { mutants, type Mutant } from './mutants.ts';

const run = new URL('../run.ts', import.meta.url);
const install = new URL('install.ts', import.meta.url).href;
const points = 40_000;
/** For a machine that does much else; it is the points that end a search. */
const seconds = 600;

/** Runs the crashes with each mutant in turn. @returns whether all were found */
export async function catchMutants(print: (line: string) => void): Promise<boolean> {
  const waiting = [...mutants];
  let missed = 0;
  await Promise.all(
    Array.from({ length: availableParallelism() }, async () => {
      for (let mutant = waiting.shift(); mutant !== undefined; mutant = waiting.shift()) {
        const found = await search(mutant);
        if (found === undefined) missed += 1;
        print(`${mutant.name}: ${found ?? 'NOT FOUND'}`);
      }
    }),
  );
  return missed === 0;
}

/** What gave the bug away. @throws when it can't be put in place */
async function search(mutant: Mutant): Promise<string | undefined> {
  const args = [
    '--points',
    String(points),
    '--seconds',
    String(seconds),
    '--step',
    '1',
    '--only',
    mutant.only,
  ];
  const child = fork(run, args, {
    execArgv: ['--import', install],
    env: { ...process.env, S3D_MUTANT: mutant.name },
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  if (child.stderr === null) throw new Error('stderr is not piped');
  const exited = once(child, 'exit') as Promise<[number | null]>;
  const [output, [code]] = await Promise.all([text(child.stderr), exited]);
  if (code === 0) return undefined;
  const found = /^Error: ((?:log|shard store), seed .*)$/m.exec(output)?.[1];
  if (found === undefined) throw new Error(`${mutant.name}: ${output.slice(0, 2000)}`);
  return found.slice(0, 160);
}
