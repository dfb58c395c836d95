/**
 * Runs Ceph's public S3 suite (https://github.com/ceph/s3-tests) against a store that it starts, with three accounts:
 *
 *   node tests/conformance/run.ts --suite ../s3-tests [--backend filesystem|distributed] [--workers 4] [-- pytest arguments]
 *   node tests/conformance/run.ts --suite ../s3-tests [--backend filesystem|distributed] --again
 *
 * The suite is a checkout of your own; nothing of it is kept here. Without pytest arguments all of test_s3.py and
 * test_headers.py run. Each case's outcome goes to artifacts/conformance/<backend>.xml (JUnit; `-alone.xml` for those
 * that run by themselves) and, one line a case, to <backend>.txt; exit code 0 says that the suite ran, not that all
 * cases passed. `--again` runs only what failed in the last run, as a busy machine makes cases fail by their time limits,
 * and writes down what comes of it instead; pytest arguments run a choice and write no <backend>.txt. `check.ts` holds docs/CONFORMANCE.md against the outcomes.
 */
import { execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { access, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { Cluster } from '../cluster/cluster.ts';
import { ServerProcess } from '../cluster/server_process.ts';
import { otherKeys, testKeys, writeTestConfig, type TestConfig } from '../cluster/test_config.ts';
import { outcomesOf, type CaseOutcome } from './outcomes.ts';

const directory = resolve('artifacts/conformance');
/** Where making one's own bucket again is no error: the suite does so. */
const region = 'us-east-1';
/** Seconds that stand for a day of lifecycle rules. */
const lifecycleDayS = 10;
const caseTimeoutS = 600;
const tenantKeys = {
  accessKeyId: 'AKIATENANTTENANTTEN1',
  secretAccessKey: 'test-secret-key-of-the-tenant-account',
};

/** Keys for the cases about encryption, by the names that the suite is told. */
const kmsKeys = ['suite-key-1', 'suite-key-2'] as const;

const lonely = ['test_list_buckets_paginated'];

const { values: flags, positionals: pytestArguments } = parseArgs({
  options: {
    suite: { type: 'string' },
    backend: { type: 'string', default: 'filesystem' },
    workers: { type: 'string', default: '4' },
    again: { type: 'boolean', default: false },
  },
  allowPositionals: true,
});
const files = { s3: 's3tests/functional/test_s3.py', headers: 's3tests/functional/test_headers.py' };
const outcomesFile = join(directory, `${flags.backend}.txt`);
await main();

async function main(): Promise<void> {
  const suite = flags.suite;
  if (suite === undefined || !['filesystem', 'distributed'].includes(flags.backend)) {
    throw new Error('usage: run.ts --suite CHECKOUT [--backend filesystem|distributed] [--workers N]');
  }
  const venv = await installSuite(suite);
  const store = await startStore(flags.backend);
  try {
    const settings = join(store.config.directory, 's3tests.conf');
    await writeFile(settings, suiteSettings(store.config.port));
    const caFile = join(store.config.basePath, 'certs', 'ca.pem');
    const before = flags.again ? await lastOutcomes() : [];
    const outcomes = new Map(before.map((one) => [one.name, one]));
    for (const { name, workers, cases } of await runs(suite, before)) {
      const report = join(directory, `${flags.backend}${name}.xml`);
      await runSuite({ suite, venv, settings, report, caFile, workers, cases });
      for (const one of outcomesOf(await readFile(report, 'utf8'))) outcomes.set(one.name, one);
    }
    await conclude([...outcomes.values()]);
  } finally {
    await store.stop();
  }
}

interface Run {
  /** Of the report. */
  readonly name: string;
  readonly workers: number;
  readonly cases: readonly string[];
}

async function lastOutcomes(): Promise<readonly CaseOutcome[]> {
  const lines = (await readFile(outcomesFile, 'utf8')).trimEnd().split('\n');
  return lines.map((line) => {
    const [outcome, name = '', reason = ''] = line.split('\t');
    if (outcome !== 'passed' && outcome !== 'failed' && outcome !== 'skipped') {
      throw new Error(`${outcomesFile} is no list of outcomes`);
    }
    return { name, outcome, reason };
  });
}

async function conclude(outcomes: readonly CaseOutcome[]): Promise<void> {
  const sorted = [...outcomes].sort((a, b) => (a.name < b.name ? -1 : 1));
  const lines = sorted.map(({ name, outcome, reason }) => `${outcome}\t${name}\t${reason}`);
  if (pytestArguments.length === 0) await writeFile(outcomesFile, `${lines.join('\n')}\n`);
  else for (const line of lines) process.stdout.write(`${line}\n`);
  for (const outcome of ['passed', 'failed', 'skipped'] as const) {
    process.stdout.write(`${outcome}: ${outcomes.filter((one) => one.outcome === outcome).length}\n`);
  }
}

/** Those that count all buckets come first, and alone: nobody else's may be there. */
async function runs(suite: string, before: readonly CaseOutcome[]): Promise<readonly Run[]> {
  const workers = Number(flags.workers);
  if (pytestArguments.length > 0) return [{ name: '-choice', workers, cases: pytestArguments }];
  if (flags.again) {
    const headers = await readFile(join(suite, files.headers), 'utf8');
    const failed = before.filter(({ outcome }) => outcome === 'failed');
    failed.sort((a, b) => Number(lonely.includes(b.name)) - Number(lonely.includes(a.name)));
    const cases = failed.map(({ name }) => {
      const isOfHeaders = headers.includes(`def ${name.split('[')[0] ?? ''}(`);
      return `${isOfHeaders ? files.headers : files.s3}::${name}`;
    });
    return cases.length === 0 ? [] : [{ name: '-again', workers: 0, cases }];
  }
  const alone = lonely.map((name) => `${files.s3}::${name}`);
  const others = [...alone.flatMap((name) => ['--deselect', name]), files.s3, files.headers];
  return [
    { name: '-alone', workers: 0, cases: alone },
    { name: '', workers, cases: others },
  ];
}

async function startStore(
  backend: string,
): Promise<{ readonly config: TestConfig; readonly stop: () => Promise<void> }> {
  const distributed = backend === 'distributed';
  const config = await writeTestConfig({
    nodes: distributed ? 5 : 0,
    databases: distributed ? 3 : 0,
    region,
    extra: `[[auth]]
access_key_id = "${tenantKeys.accessKeyId}"
secret_access_key = "${tenantKeys.secretAccessKey}"
account_id = "333333333333"
name = "tenant"
email = "tenant@example.com"
[encryption]
key_file = "../encryption.keys"

[logging]
interval = "5s"

[lifecycle]
debug_day = "${lifecycleDayS}s"
`,
  });
  await writeFile(join(config.directory, 'encryption.keys'), keyFile(), { mode: 0o600 });
  if (distributed) {
    const cluster = await Cluster.start(config.file);
    return {
      config,
      stop: async () => {
        await cluster.stop();
        await config.remove();
      },
    };
  }
  const server = await ServerProcess.start({
    name: 'filesystem',
    args: ['-config', config.file],
    logFile: join(directory, 'filesystem.log'),
  });
  return {
    config,
    stop: async () => {
      await server.kill('SIGTERM');
      await config.remove();
    },
  };
}

/** What is encrypted at rest is under the first. */
function keyFile(): string {
  const tables = kmsKeys.map((id) => `[[keys]]\nid = "${id}"\nkey = "${randomBytes(32).toString('hex')}"\n`);
  return `active = "${kmsKeys[0]}"\n${tables.join('')}`;
}

/** A virtual environment with what the suite's own requirements.txt names. */
async function installSuite(suite: string): Promise<string> {
  const venv = join(directory, 'venv');
  await mkdir(directory, { recursive: true });
  const pytest = join(venv, 'bin/pytest');
  const installed = await access(pytest).then(
    () => true,
    () => false,
  );
  if (installed) return venv;
  const run = promisify(execFile);
  await run('python3', ['-m', 'venv', '--clear', venv]);
  await run(join(venv, 'bin/pip'), [
    'install',
    '--quiet',
    '--disable-pip-version-check',
    '-r',
    join(suite, 'requirements.txt'),
    'pytest-xdist',
    'pytest-timeout',
  ]);
  return venv;
}

async function runSuite(run: {
  readonly suite: string;
  readonly venv: string;
  readonly settings: string;
  readonly report: string;
  readonly caFile: string;
  readonly workers: number;
  readonly cases: readonly string[];
}): Promise<void> {
  const pytest = spawn(
    join(run.venv, 'bin/pytest'),
    [
      '-q',
      '--tb=line',
      '-p',
      'no:cacheprovider',
      `--timeout=${caseTimeoutS}`,
      `--numprocesses=${run.workers}`,
      `--junitxml=${run.report}`,
      ...run.cases,
    ],
    {
      cwd: run.suite,
      stdio: ['ignore', 'inherit', 'inherit'],
      env: {
        ...process.env,
        S3TEST_CONF: run.settings,
        // For the few cases that don't go by ssl_verify.
        REQUESTS_CA_BUNDLE: run.caFile,
        SSL_CERT_FILE: run.caFile,
        AWS_DEFAULT_REGION: region,
      },
    },
  );
  await new Promise<void>((done, fail) => {
    pytest.once('error', fail);
    // 0: all passed, 1: some failed. Anything else means that the suite did not run.
    pytest.once('exit', (code) =>
      code === 0 || code === 1 ? done() : fail(new Error(`pytest ended with ${code}`)),
    );
  });
}

function suiteSettings(port: number): string {
  const account = (
    section: string,
    keys: typeof testKeys,
    who: { readonly id: string; readonly name: string },
  ): string => `
[${section}]
display_name = ${who.name}
user_id = ${who.id}
email = ${who.name}@example.com
access_key = ${keys.accessKeyId}
secret_key = ${keys.secretAccessKey}
`;
  const main = { id: '111111111111', name: 'main' };
  const other = { id: '222222222222', name: 'other' };
  const tenant = { id: '333333333333', name: 'tenant' };
  // The suite can't be given a CA: verify=True would mean the public ones. The last three are for IAM and STS, which the suite wants named although their cases aren't run.
  return `[DEFAULT]
host = 127.0.0.1
port = ${port}
is_secure = True
ssl_verify = False

[fixtures]
bucket prefix = s3d-{random}-
${account('s3 main', testKeys, main)}api_name = ${region}
lc_debug_interval = ${lifecycleDayS}
kms_keyid = ${kmsKeys[0]}
kms_keyid2 = ${kmsKeys[1]}
${account('s3 alt', otherKeys, other)}
${account('s3 tenant', tenantKeys, tenant)}tenant =
${account('iam', testKeys, main)}
${account('iam root', testKeys, main)}
${account('iam alt root', otherKeys, other)}
`;
}
