/**
 * A cluster of real processes under faults: `node tests/campaign/cluster.ts --minutes N --seed S`. Three databases and five
 * shard nodes with gateways (a sixth comes and goes), each on a host of its own where network namespaces can be made; clients
 * write and read known content through all gateways while a nemesis breaks one thing after the other. At the end every
 * object must read back right through every gateway, every shard must be whole, none may be left that nobody names, and
 * after everything was deleted nothing may be left at all. What was done and seen is kept under artifacts/campaign/. The
 * seed draws faults and calls; what the machine's timing makes of them differs.
 */
import { createWriteStream } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { finished } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Random } from '../sim/random.ts';
import { Fleet, hostsOfFleet } from './cluster/fleet.ts';
import { Nemesis } from './cluster/nemesis.ts';
import { SmallDisk } from './cluster/small_disk.ts';
import { Wholeness, type Findings } from './cluster/wholeness.ts';
import { bucket, Workload } from './cluster/workload.ts';
import { openNetwork } from './network.ts';
import type { TestNetwork } from './network/test_network.ts';
import { canStepClocks } from './stepped_clock.ts';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '4' },
    seed: { type: 'string', default: '1' },
    workers: { type: 'string', default: '6' },
    rate: { type: 'string', default: '12' },
    rest: { type: 'string', default: '3' },
    only: { type: 'string' },
    artifacts: { type: 'string', default: 'artifacts/campaign' },
  },
});
const seed = Number(values.seed);
const minutes = Number(values.minutes);
const interrupted = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interrupted.abort());
const print = (line: string): void => void process.stdout.write(`${line}\n`);

/** How long, after the last fault, until nothing is short and nothing is left over. */
const settleMs = 300_000;
const violations: string[] = [];
const artifacts = join(values.artifacts, `${new Date().toISOString().replace(/[:.]/g, '-')}-cluster`);
await mkdir(artifacts, { recursive: true });
const nemesisLog = createWriteStream(join(artifacts, 'nemesis.log'));
const callLog = createWriteStream(join(artifacts, 'calls.jsonl'));

const directory = await mkdtemp(join(tmpdir(), 's3d-campaign-'));
const network = await openNetwork(hostsOfFleet);
const smallDisk = await SmallDisk.mount(directory);
say(
  [
    `${minutes} minutes, seed ${seed}, ${network.description}`,
    smallDisk === undefined ? 'no small disk' : 'a small disk',
    (await canStepClocks()) ? 'clocks that step' : 'no clocks that step (without libfaketime)',
  ].join(', '),
);
let verdict: object = {};
try {
  verdict = await campaign(network);
} catch (error) {
  violate(error instanceof Error ? (error.stack ?? error.message) : String(error));
}
await network.close();
await writeFile(
  join(artifacts, 'verdict.json'),
  `${JSON.stringify({ seed, minutes, violations, ...verdict }, undefined, 2)}\n`,
);
nemesisLog.end();
callLog.end();
await Promise.all([finished(nemesisLog), finished(callLog)]);
print(JSON.stringify(verdict));
if (violations.length === 0) {
  print('no violation');
  await rm(directory, { recursive: true });
} else {
  for (const violation of violations.slice(0, 10)) print(`VIOLATION ${violation}`);
  print(`the cluster's files are kept in ${directory}`);
}
print(`kept in ${artifacts}`);
process.exit(violations.length === 0 ? 0 : 1);

async function campaign(on: TestNetwork): Promise<object> {
  const random = new Random(seed);
  const fleet = await Fleet.start({ network: on, directory, logDirectory: join(artifacts, 'logs') });
  const wholeness = await Wholeness.open(fleet);
  const nemesis = await Nemesis.open({
    fleet,
    network: on,
    wholeness,
    random: random.fork(),
    log: say,
    onViolation: violate,
    smallDisk,
    only: values.only,
    endMs: performance.now() + minutes * 60_000,
    restMs: Number(values.rest) * 1000,
  });
  const workload = new Workload({
    fleet,
    random: random.fork(),
    workers: Number(values.workers),
    callsPerSecond: Number(values.rate),
    log: (entry) => callLog.write(`${JSON.stringify(entry)}\n`),
    onViolation: violate,
  });
  try {
    const made = await fleet.caller(0).call({ method: 'PUT', path: `/${bucket}` });
    if (made.status !== 200) throw new Error(`the bucket could not be made: ${made.body.toString()}`);
    workload.start();
    await sleep(5000);
    await nemesis.run(interrupted.signal);
    say('--- the end');
    await workload.stop();
    await nemesis.heal();
    await nemesis.whole('the last fault');
    for (const what of fleet.unexpected) violate(what);
    await workload.verify();
    const whole = await settled(
      wholeness,
      'every object',
      ({ missing, orphans }) => missing.length + orphans.length === 0,
    );
    await workload.removeAll();
    const empty = await settled(wholeness, 'nothing', ({ contents, shards }) => contents + shards === 0);
    const recoveries = nemesis.recoveriesMs.map(Math.round).sort((a, b) => a - b);
    return {
      ...workload.counts,
      faults: nemesis.counts,
      contents: whole.contents,
      shards: whole.shards,
      leftAtTheEnd: empty.shards,
      medianFaultMs: recoveries[Math.floor(recoveries.length / 2)] ?? 0,
      slowestFaultMs: recoveries.at(-1) ?? 0,
    };
  } finally {
    // After a violation its peers may be in any state; what was found counts, and the processes below must end.
    await wholeness.close().catch(() => undefined);
    await fleet.close();
    await smallDisk?.close();
  }
}

/** Looks until it is as it should be, and says what it was otherwise. Every byte is read the first time around. */
async function settled(
  wholeness: Wholeness,
  what: string,
  isRight: (findings: Findings) => boolean,
): Promise<Findings> {
  const untilMs = performance.now() + settleMs;
  for (;;) {
    const findings = await wholeness.look({ readAll: true });
    const { contents, shards, missing, orphans } = findings;
    say(`${contents} contents, ${shards} shards, ${missing.length} missing, ${orphans.length} unnamed`);
    if (isRight(findings)) return findings;
    if (performance.now() > untilMs) {
      violate(
        `${what} should be there: ${missing.length} shards missing (${missing.slice(0, 5).join(', ')}), ${orphans.length} unnamed (${orphans.slice(0, 5).join(', ')}), ${contents} contents, ${shards} shards`,
      );
      return findings;
    }
    await sleep(5000);
  }
}

function say(line: string): void {
  const text = `${new Date().toISOString().slice(11, 23)} ${line}`;
  nemesisLog.write(`${text}\n`);
  print(text);
}

function violate(what: string): void {
  violations.push(what);
  say(`VIOLATION ${what}`);
  // More of the same would only hide what came first.
  if (violations.length >= 5) interrupted.abort();
}
