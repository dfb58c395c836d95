/**
 * Real database processes under faults: `node tests/campaign/database.ts --minutes N --seed S [--replicas 3|5]`. Processes in
 * network namespaces, clients of every kind, a nemesis; every call is recorded and all of it must be linearizable, nothing
 * that was acknowledged may be lost, and at the end all replicas must hold the same. What it did and saw is kept under
 * artifacts/campaign/. The seed draws the faults and the calls; what the machine's timing makes of them differs.
 */
import { createWriteStream } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { finished } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Random } from '../sim/random.ts';
import { History } from './database/history.ts';
import { Nemesis } from './database/nemesis.ts';
import { ReplicaSet } from './database/replica_set.ts';
import { Workload } from './database/workload.ts';
import { openNetwork } from './network.ts';
import type { TestNetwork } from './network/test_network.ts';
import { canStepClocks } from './stepped_clock.ts';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '5' },
    seed: { type: 'string', default: '1' },
    replicas: { type: 'string', default: '3,5' },
    workers: { type: 'string', default: '10' },
    rate: { type: 'string', default: '150' },
    only: { type: 'string' },
    artifacts: { type: 'string', default: 'artifacts/campaign' },
  },
});
const seed = Number(values.seed);
const sizes = values.replicas.split(',').map(Number);
const minutesEach = Number(values.minutes) / sizes.length;
const interrupted = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interrupted.abort());

const print = (line: string): void => void process.stdout.write(`${line}\n`);
const artifacts = join(values.artifacts, `${new Date().toISOString().replace(/[:.]/g, '-')}-database`);
await mkdir(artifacts, { recursive: true });
for (const size of sizes) {
  if (process.exitCode === undefined && !interrupted.signal.aborted) await campaign(size);
}
print(`kept in ${artifacts}`);
// After a violation the nemesis may still be at work; there is nothing left for it to work on.
process.exit();

/** One run with so many replicas. Sets the exit code when something is wrong. */
async function campaign(size: number): Promise<void> {
  const place = join(artifacts, `${size}-replicas`);
  await mkdir(join(place, 'logs'), { recursive: true });
  const directory = await mkdtemp(join(tmpdir(), 's3d-campaign-'));
  const network = await openNetwork(size);
  const random = new Random(seed * 100 + size);
  const clocks = (await canStepClocks()) ? 'clocks that step' : 'no clocks that step (without libfaketime)';
  print(`${size} replicas for ${minutesEach} minutes, seed ${seed}, ${network.description}, ${clocks}`);
  const violations: string[] = [];
  let verdict: object = {};
  try {
    verdict = await run({ size, place, directory, network, random, violations });
  } catch (error) {
    violations.push(error instanceof Error ? (error.stack ?? error.message) : String(error));
  } finally {
    await network.close();
  }
  await writeFile(
    join(place, 'verdict.json'),
    `${JSON.stringify({ seed, size, violations, ...verdict }, undefined, 2)}\n`,
  );
  print(JSON.stringify(verdict));
  if (violations.length === 0) {
    print(`${size} replicas: no violation`);
    await rm(directory, { recursive: true });
    return;
  }
  for (const violation of violations.slice(0, 10)) print(`VIOLATION ${violation}`);
  print(`the replicas' files are kept in ${directory}`);
  process.exitCode = 1;
}

interface Run {
  readonly size: number;
  readonly place: string;
  readonly directory: string;
  readonly network: TestNetwork;
  readonly random: Random;
  readonly violations: string[];
}

async function run({ size, place, directory, network, random, violations }: Run): Promise<object> {
  const nemesisLines = createWriteStream(join(place, 'nemesis.log'));
  const historyLines = createWriteStream(join(place, 'history.jsonl'));
  const onViolation = (what: string): void => {
    violations.push(what);
    nemesisLines.write(`VIOLATION ${what}\n`);
    interrupted.abort();
  };
  const driver = random.pick(['auto', 'http2'] as const);
  const set = await ReplicaSet.start({
    size,
    network,
    directory,
    driver,
    logDirectory: join(place, 'logs'),
    tampering: true,
  });
  try {
    const nemesis = new Nemesis({
      set,
      network,
      random: random.fork(),
      log: (line) => nemesisLines.write(`${line}\n`),
      onViolation,
      only: values.only,
      endMs: performance.now() + minutesEach * 60_000,
    });
    await nemesis.whole('at the start');
    const history = new History();
    const clients = [
      { name: 'REST client of all', database: await set.client() },
      { name: 'lane client of all', database: set.laneClient() },
      ...(await Promise.all(
        set.ids.map(async (id) =>
          id % 2 === 0
            ? { name: `REST client of db ${id}`, database: await set.client([id]) }
            : { name: `lane client of db ${id}`, database: set.laneClient([id]) },
        ),
      )),
    ];
    const workload = new Workload({
      history,
      random: random.fork(),
      clients,
      workers: Number(values.workers),
      callsPerSecond: Number(values.rate),
      lines: historyLines,
      onViolation,
    });
    workload.start();
    const checking = watch(history, () => set.unexpected, onViolation);
    await Promise.race([nemesis.run(), aborted()]);
    checking.stop();
    await workload.stop();
    if (!interrupted.signal.aborted) {
      await workload.readAll(clients[0]!.database, history.groups);
      await compareStates(set, nemesis, onViolation);
    }
    const { linearizable, undecided, violations: broken } = history.check();
    for (const what of [...broken, ...history.checkStale()]) violations.push(what);
    const recoveriesMs = nemesis.recoveriesMs.map(Math.round).toSorted((a, b) => a - b);
    return {
      driver,
      calls: history.calls,
      open: history.open,
      ...workload.counts,
      groups: { linearizable, undecided },
      faults: nemesis.counts,
      recoveries: recoveriesMs.length,
      slowestRecoveryMs: recoveriesMs.at(-1) ?? 0,
    };
  } finally {
    await set.close();
    nemesisLines.end();
    historyLines.end();
    await Promise.all([finished(nemesisLines), finished(historyLines)]);
  }
}

function aborted(): Promise<void> {
  return new Promise((resolve) => interrupted.signal.addEventListener('abort', () => resolve()));
}

/** Looks at what is known so far, so that a run ends soon after something went wrong. */
function watch(
  history: History,
  unexpected: () => readonly string[],
  onViolation: (what: string) => void,
): { stop(): void } {
  let reported = 0;
  let checked = 0;
  const timer = setInterval(() => {
    for (; reported < unexpected().length; reported++) onViolation(unexpected()[reported] ?? '');
    // The newest are still being worked on: each is looked at once it rests.
    const groups = history.groups.slice(checked, -12);
    checked += groups.length;
    for (const violation of history.check(groups, 300_000).violations) onViolation(violation);
  }, 2000);
  return { stop: () => clearInterval(timer) };
}

/** Once nothing is written any more, all replicas hold the same. */
async function compareStates(
  set: ReplicaSet,
  nemesis: Nemesis,
  onViolation: (what: string) => void,
): Promise<void> {
  for (let attempt = 0; attempt < 240; attempt++) {
    const statuses = await set.statuses();
    const points = new Set(
      statuses.flatMap((one) => [one?.applied_index, one?.commit_index, one?.last_index]),
    );
    if (points.size !== 1 || points.has(undefined)) {
      await sleep(250);
      continue;
    }
    await set.killAll();
    const digests = await Promise.all(set.ids.map((id) => set.digest(id)));
    const distinct = new Set(digests.map(({ index, digest }) => `${index} ${digest}`));
    if (distinct.size > 1) onViolation(`the replicas differ: ${JSON.stringify(digests)}`);
    return;
  }
  onViolation('the replicas did not come to the same index');
  await nemesis.heal();
}
