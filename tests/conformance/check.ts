/**
 * Holds docs/CONFORMANCE.md against the outcomes of the last runs, artifacts/conformance/<backend>.txt:
 *
 *   node tests/conformance/check.ts
 *
 * Every case that failed or was skipped on a backend must stand in one row of the document's tables, every case in them
 * must have failed or been skipped on some backend, and the figures must be those of the runs. Exit code 1 where they
 * differ.
 */
import { access, readFile } from 'node:fs/promises';
import { join } from 'node:path';

const backends = ['filesystem', 'distributed'] as const;
const outcomes = ['passed', 'failed', 'skipped'] as const;

interface RunOutcomes {
  readonly backend: string;
  readonly cases: ReadonlyMap<string, string>;
}

const documentFile = 'docs/CONFORMANCE.md';
const document = await readFile(documentFile, 'utf8');
const runs = await readRuns();
const differences = [...wrongCases(listedCases(document), runs), ...runs.flatMap(wrongFigures)];
for (const difference of differences) process.stdout.write(`${difference}\n`);
if (runs.length === 0) process.stdout.write('there are no outcomes: run the suite first\n');
process.exitCode = differences.length > 0 || runs.length === 0 ? 1 : 0;

async function readRuns(): Promise<readonly RunOutcomes[]> {
  const found: RunOutcomes[] = [];
  for (const backend of backends) {
    const file = join('artifacts/conformance', `${backend}.txt`);
    const exists = await access(file).then(
      () => true,
      () => false,
    );
    if (!exists) continue;
    const lines = (await readFile(file, 'utf8')).trimEnd().split('\n');
    const cases = lines.map((line): [string, string] => {
      const [outcome = '', name = ''] = line.split('\t');
      return [name, outcome];
    });
    found.push({ backend, cases: new Map(cases) });
  }
  return found;
}

/** How often each case stands in a row of a table. */
function listedCases(text: string): ReadonlyMap<string, number> {
  const listed = new Map<string, number>();
  for (const line of text.split('\n')) {
    if (!line.startsWith('|')) continue;
    for (const [, name = ''] of line.matchAll(/`(test_[^`]+)`/g))
      listed.set(name, (listed.get(name) ?? 0) + 1);
  }
  return listed;
}

function wrongCases(listed: ReadonlyMap<string, number>, of: readonly RunOutcomes[]): string[] {
  const wrong: string[] = [];
  for (const [name, times] of listed) {
    if (times > 1) wrong.push(`listed ${times} times: ${name}`);
    if (of.every(({ cases }) => cases.get(name) === 'passed')) wrong.push(`listed, but passes: ${name}`);
  }
  for (const { backend, cases } of of) {
    for (const [name, outcome] of cases) {
      if (outcome !== 'passed' && !listed.has(name))
        wrong.push(`${outcome} on ${backend}, not listed: ${name}`);
    }
  }
  return wrong;
}

/** The row of a backend: its name, then how many cases had each outcome. */
function wrongFigures({ backend, cases }: RunOutcomes): string[] {
  const counted = outcomes.map((outcome) => [...cases.values()].filter((one) => one === outcome).length);
  const row = document.split('\n').find((line) => line.startsWith(`| ${backend} |`));
  const given = (row ?? '').split('|').slice(2, 5).map(Number);
  if (given.join() === counted.join()) return [];
  return [
    `${backend}: ${outcomes.map((outcome, i) => `${counted[i]} ${outcome}`).join(', ')}; ${documentFile} says otherwise`,
  ];
}
