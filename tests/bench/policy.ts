/**
 * `node tests/bench/policy.ts`: what a bucket policy of 100 statements costs a request, each of them about the very
 * action that is asked for, with a condition, and none deciding before the last. Target: below 50 microseconds.
 */
import type { Credential } from '../../auth/credentials.ts';
import type { Bucket } from '../../backend/backend.ts';
import { knownActions } from '../../s3/access/actions.ts';
import { isAllowed } from '../../s3/access/decide.ts';
import { Policies } from '../../s3/access/policies.ts';

const statementCount = 100;
const targetMicroseconds = 50;
const rounds = 5;
const decisionsPerRound = 20_000;

const statements = Array.from({ length: statementCount }, (_, i) => ({
  Effect: i % 2 === 0 ? 'Allow' : 'Deny',
  Principal: { AWS: i === statementCount - 2 ? '222222222222' : `${100_000_000_000 + i}` },
  Action: ['s3:GetObject', 's3:Put*'],
  Resource: [`arn:aws:s3:::photos/team-${i}/*/public/*`, 'arn:aws:s3:::photos/*'],
  Condition: {
    StringLike: { 'aws:Referer': `https://site-${i}.example.com/*` },
    IpAddressIfExists: { 'aws:SourceIp': ['10.0.0.0/8', '2001:db8::/32'] },
  },
}));
const everyone = statements.map((statement) => ({ ...statement, Principal: '*' }));

const credential: Credential = {
  accessKeyId: 'k',
  secretAccessKey: 's',
  accountId: '222222222222',
  displayName: 'ann',
  admin: false,
  policy: [{ bucket: '*', actions: ['s3:*'] }],
};
const policies = new Policies({ actions: knownActions, knownKey: (key) => key.startsWith('aws:') });
const values = (key: string): readonly string[] | undefined =>
  key === 'aws:referer'
    ? ['https://elsewhere.example.com/']
    : key === 'aws:sourceip'
      ? ['10.1.2.3']
      : undefined;

/** Best of a few rounds, in microseconds a decision. */
function measure(list: readonly object[]): number {
  // Policies are at most 20 KiB: shorter names where these would be longer.
  const text = JSON.stringify({ Version: '2012-10-17', Statement: list.map(shortened) });
  const bucket: Bucket = {
    name: 'photos',
    owner: { id: '111111111111', displayName: 'main' },
    createdMs: 0,
    region: 'eu-central-1',
    public: false,
    settings: new Map([['policy', text]]),
  };
  let best = Infinity;
  let allowed = 0;
  for (let round = 0; round < rounds; round += 1) {
    // Processor time: what others do on the machine meanwhile isn't the policy's cost.
    const begun = process.threadCpuUsage().user;
    for (let i = 0; i < decisionsPerRound; i += 1) {
      const question = {
        credential,
        action: 's3:GetObject',
        bucket,
        key: `a/b/c/${i}`,
        object: undefined,
        values,
      };
      if (isAllowed(question, policies)) allowed += 1;
    }
    best = Math.min(best, (process.threadCpuUsage().user - begun) / decisionsPerRound);
  }
  if (allowed > 0) throw new Error('nothing of this is allowed');
  return best;
}

function shortened(statement: object): object {
  const { Condition: _, ...rest } = statement as { readonly Condition: unknown };
  return JSON.stringify(statement).length * statementCount < 20_000
    ? statement
    : {
        ...rest,
        Resource: 'arn:aws:s3:::photos/*',
        Condition: { StringLike: { 'aws:Referer': 'https://a.example/*' } },
      };
}

const results = { 'named accounts': measure(statements), everyone: measure(everyone) };
for (const [name, microseconds] of Object.entries(results)) {
  process.stdout.write(`${statementCount} statements, ${name}: ${microseconds.toFixed(1)} us a request\n`);
}
process.exitCode = Math.max(...Object.values(results)) > targetMicroseconds ? 1 : 0;
