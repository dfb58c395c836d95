import { XMLParser } from 'fast-xml-parser';

export interface CaseOutcome {
  readonly name: string;
  readonly outcome: 'passed' | 'failed' | 'skipped';
  /** First line of what pytest says about it. */
  readonly reason: string;
}

interface JunitCase {
  readonly '@_name': string;
  readonly failure?: JunitVerdict;
  readonly error?: JunitVerdict;
  readonly skipped?: JunitVerdict;
}

type JunitVerdict = { readonly '@_message'?: string } | string;

/** The cases of a JUnit report, by name; a case whose clean-up failed as well counts once, as failed. */
export function outcomesOf(junit: string): readonly CaseOutcome[] {
  const parser = new XMLParser({
    ignoreAttributes: false,
    isArray: (name) => name === 'testcase' || name === 'testsuite',
    processEntities: { enabled: true, maxTotalExpansions: 1_000_000, maxExpandedLength: 100_000_000 },
  });
  const document = parser.parse(junit) as {
    readonly testsuites: { readonly testsuite: readonly { readonly testcase?: readonly JunitCase[] }[] };
  };
  const outcomes = new Map<string, CaseOutcome>();
  for (const { testcase = [] } of document.testsuites.testsuite) {
    for (const one of testcase) {
      const outcome = outcomeOf(one);
      if (outcomes.get(outcome.name)?.outcome !== 'failed') outcomes.set(outcome.name, outcome);
    }
  }
  return [...outcomes.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

function outcomeOf(one: JunitCase): CaseOutcome {
  const name = one['@_name'];
  const failure = one.failure ?? one.error;
  if (failure !== undefined) return { name, outcome: 'failed', reason: reasonOf(failure) };
  if (one.skipped !== undefined) return { name, outcome: 'skipped', reason: reasonOf(one.skipped) };
  return { name, outcome: 'passed', reason: '' };
}

function reasonOf(verdict: JunitVerdict): string {
  const message = typeof verdict === 'string' ? verdict : (verdict['@_message'] ?? '');
  return (message.split('\n')[0] ?? '').slice(0, 300);
}
