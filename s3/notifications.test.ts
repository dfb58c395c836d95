import { describe, expect, it } from 'vitest';
import { aliceOwner, bob, createHarness, type Harness, textOf, textsOf } from './testing/harness.ts';

function harness(): Harness {
  const s3 = createHarness({ notifications: new Map([['hook', 'webhook']]) });
  s3.backend.addBucket('b', { owner: aliceOwner });
  return s3;
}

async function errorOf(response: Response): Promise<string> {
  return `${response.status} ${textOf(await response.text(), 'Code') ?? ''}`;
}

function queue(more: string, events = ['s3:ObjectCreated:*'], arn = 'arn:s3d:sqs::hook:webhook'): string {
  const named = events.map((event) => `<Event>${event}</Event>`).join('');
  return `<QueueConfiguration><Queue>${arn}</Queue>${named}${more}</QueueConfiguration>`;
}

function filter(rules: Record<string, string>): string {
  const elements = Object.entries(rules).map(
    ([name, value]) => `<FilterRule><Name>${name}</Name><Value>${value}</Value></FilterRule>`,
  );
  return `<Filter><S3Key>${elements.join('')}</S3Key></Filter>`;
}

async function configure(s3: Harness, rules: string): Promise<Response> {
  const body = `<NotificationConfiguration>${rules}</NotificationConfiguration>`;
  return s3.send({ method: 'PUT', target: '/b?notification', body });
}

describe('the notification configuration of a bucket', () => {
  it('is set, given back, and emptied by an empty one', async () => {
    const s3 = harness();
    const lambda =
      '<CloudFunctionConfiguration><Id>f</Id><CloudFunction>arn:s3d:lambda::hook:webhook</CloudFunction><Event>s3:ObjectRemoved:Delete</Event></CloudFunctionConfiguration>';
    const rules = queue(`<Id>q</Id>${filter({ Prefix: 'in/', suffix: '.jpg' })}`) + lambda;
    expect((await configure(s3, rules)).status).toBe(200);
    const xml = await (await s3.send({ target: '/b?notification' })).text();
    expect(textsOf(xml, 'Id')).toEqual(['q', 'f']);
    expect(textsOf(xml, 'Event')).toEqual(['s3:ObjectCreated:*', 's3:ObjectRemoved:Delete']);
    expect(xml).toContain('<FilterRule><Name>prefix</Name><Value>in/</Value></FilterRule>');
    expect(xml).toContain('<CloudFunction>arn:s3d:lambda::hook:webhook</CloudFunction>');
    expect(await errorOf(await s3.send({ target: '/b?notification', as: bob }))).toBe('403 AccessDenied');
    expect((await configure(s3, '')).status).toBe(200);
    expect(await (await s3.send({ target: '/b?notification' })).text()).not.toContain('Queue');
  });

  it('is refused where nothing would come of it, and the one before stays', async () => {
    const s3 = harness();
    await configure(s3, queue('<Id>kept</Id>'));
    const created = ['s3:ObjectCreated:*'];
    const cases: [string, string][] = [
      [queue('', created, 'arn:s3d:sqs::other:webhook'), '400 InvalidArgument'],
      [queue('', created, 'arn:s3d:sqs::hook:nats'), '400 InvalidArgument'],
      [queue('', created, 'arn:aws:sqs:us-east-1:1:hook'), '400 InvalidArgument'],
      [queue('', []), '400 MalformedXML'],
      [queue('', ['s3:ObjectCreated']), '400 InvalidArgument'],
      [queue('', ['s3:Replication:*']), '501 NotImplemented'],
      [queue(filter({ infix: 'x' })), '400 InvalidArgument'],
      [queue(filter({ prefix: 'x', Prefix: 'y' })), '400 InvalidArgument'],
      [queue(filter({ prefix: 'x'.repeat(1025) })), '400 InvalidArgument'],
      [queue('') + queue(''), '400 InvalidArgument'],
      [
        queue(filter({ prefix: 'a' })) + queue(filter({ prefix: 'ab' }), ['s3:ObjectCreated:Put']),
        '400 InvalidArgument',
      ],
      [
        queue(`<Id>x</Id>${filter({ prefix: 'a' })}`) + queue(`<Id>x</Id>${filter({ prefix: 'b' })}`),
        '400 InvalidArgument',
      ],
      ['<EventBridgeConfiguration/>', '501 NotImplemented'],
      ['<Unknown/>', '400 MalformedXML'],
    ];
    for (const [rules, error] of cases)
      expect([rules, await errorOf(await configure(s3, rules))]).toEqual([rules, error]);
    expect(await (await s3.send({ target: '/b?notification' })).text()).toContain('kept');
    const apart = queue(filter({ prefix: 'a' })) + queue(filter({ prefix: 'b' }));
    expect((await configure(s3, apart)).status).toBe(200);
  });
});
