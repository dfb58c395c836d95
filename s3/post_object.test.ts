import { createHmac } from 'node:crypto';
import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { deriveSigningKey } from '../auth/signature.ts';
import { formatBasicIso } from '../auth/timestamp.ts';
import { FormReader } from './http/multipart_form.ts';
import { alice, bob, createHarness, type Harness, region, textOf } from './testing/harness.ts';

const boundary = 'xYzZY';

type Field = readonly [name: string, value: string, filename?: string];

function formOf(fields: readonly Field[]): string {
  const parts = fields.map(([name, value, filename]) => {
    const file = filename === undefined ? '' : `; filename="${filename}"`;
    return `--${boundary}\r\nContent-Disposition: form-data; name="${name}"${file}\r\n\r\n${value}\r\n`;
  });
  return `${parts.join('')}--${boundary}--\r\n`;
}

describe('uploads of forms', () => {
  let s3: Harness;
  beforeEach(() => {
    s3 = createHarness();
    s3.backend.addBucket('b', { owner: { id: alice.accountId, displayName: 'alice' } });
    s3.backend.addBucket('open', { owner: { id: alice.accountId, displayName: 'alice' } });
    const acl = JSON.stringify([
      [1, 0],
      [2, 0],
      [0, alice.accountId],
    ]);
    s3.backend.buckets.get('open')?.settings.set('acl', acl);
  });

  const post = (bucket: string, body: string, headers: Record<string, string> = {}): Promise<Response> =>
    s3.send({
      method: 'POST',
      target: `/${bucket}`,
      as: null,
      body,
      headers: { 'content-type': `multipart/form-data; boundary=${boundary}`, ...headers },
    });
  async function outcome(response: Response): Promise<string> {
    const code = textOf(await response.text(), 'Code');
    return code === undefined ? String(response.status) : `${response.status} ${code}`;
  }
  const stored = (bucket: string, key: string): string | undefined =>
    s3.backend.buckets.get(bucket)?.objects.get(key)?.bytes.toString('utf8');

  interface PolicyParts {
    readonly conditions?: readonly unknown[];
    readonly expiration?: unknown;
    readonly more?: object;
  }
  const standing = [
    { bucket: 'b' },
    ['starts-with', '$key', 'in/'],
    { acl: 'private' },
    ['starts-with', '$Content-Type', 'text/'],
    ['starts-with', '$x-amz-credential', ''],
    { 'x-amz-algorithm': 'AWS4-HMAC-SHA256' },
    ['starts-with', '$x-amz-date', ''],
  ];
  function signed(parts: PolicyParts = {}, as = alice, at = Date.now()): Field[] {
    const document: unknown = {
      expiration: new Date(at + 60_000).toISOString(),
      conditions: [...standing, ...(parts.conditions ?? [])],
      ...('expiration' in parts ? { expiration: parts.expiration } : {}),
      ...parts.more,
    };
    const policy = Buffer.from(JSON.stringify(document)).toString('base64');
    const timestamp = formatBasicIso(at);
    const scope = { date: timestamp.slice(0, 8), region, service: 's3' };
    const key = deriveSigningKey(as.secretAccessKey, scope);
    return [
      ['policy', policy],
      ['X-Amz-Algorithm', 'AWS4-HMAC-SHA256'],
      ['X-Amz-Credential', `${as.accessKeyId}/${scope.date}/${region}/s3/aws4_request`],
      ['X-Amz-Date', timestamp],
      ['X-Amz-Signature', createHmac('sha256', key).update(policy).digest('hex')],
    ];
  }
  const plain: Field[] = [
    ['key', 'in/k'],
    ['acl', 'private'],
    ['Content-Type', 'text/plain'],
  ];
  const file: Field = ['file', 'hello', 'a.txt'];
  const send = async (fields: readonly Field[], bucket = 'b'): Promise<string> =>
    outcome(await post(bucket, formOf(fields)));

  it('need nobody where anybody may write', async () => {
    expect(await send([...plain, file], 'open')).toBe('204');
    expect(stored('open', 'in/k')).toBe('hello');
    expect(await send([...plain, file])).toBe('403 AccessDenied');
    expect(stored('b', 'in/k')).toBe(undefined);
    expect(s3.backend.buckets.get('open')?.objects.get('in/k')?.owner.id).toBe(alice.accountId);
  });

  it('signed with version 4 write as the signer', async () => {
    expect(await send([...plain, ...signed(), file])).toBe('204');
    expect(stored('b', 'in/k')).toBe('hello');
    expect(await send([...plain, ...signed({}, bob), file])).toBe('403 AccessDenied');
    const forged = signed().map(([name, value]): Field => [
      name,
      name === 'X-Amz-Signature' ? '0'.repeat(64) : value,
    ]);
    expect(await send([...plain, ...forged, file])).toBe('403 SignatureDoesNotMatch');
    const unknown = signed({}, { ...alice, accessKeyId: 'AKIANONE' });
    expect(await send([...plain, ...unknown, file])).toBe('403 InvalidAccessKeyId');
    for (const left of ['policy', 'X-Amz-Algorithm', 'X-Amz-Credential', 'X-Amz-Date', 'X-Amz-Signature']) {
      const rest = signed().filter(([name]) => name !== left);
      expect([left, (await send([...plain, ...rest, file])).slice(0, 3)]).toEqual([left, '400']);
    }
  });

  it('signed with the older version are refused by name', async () => {
    const fields: Field[] = [...plain, ['AWSAccessKeyId', 'x'], ['signature', 'x'], ['policy', 'e30='], file];
    const response = await post('b', formOf(fields));
    expect(response.status).toBe(400);
    expect(textOf(await response.text(), 'Message')).toContain('AWS4-HMAC-SHA256');
  });

  it('are held against every condition of their policy', async () => {
    const meta = (value: string): Field => ['x-amz-meta-color', value];
    const cases: readonly (readonly [string, PolicyParts, readonly Field[]])[] = [
      ['204', { conditions: [['eq', '$x-amz-meta-color', 'blue']] }, [meta('blue')]],
      ['204', { conditions: [['Starts-With', '$X-AMZ-meta-COLOR', 'bl']] }, [meta('blue')]],
      ['403 AccessDenied', { conditions: [['eq', '$x-amz-meta-color', 'blue']] }, [meta('red')]],
      ['403 AccessDenied', { conditions: [['starts-with', '$x-amz-meta-color', 'b']] }, [meta('red')]],
      ['403 AccessDenied', { conditions: [{ 'x-amz-meta-color': 'blue' }] }, []],
      ['403 AccessDenied', {}, [meta('blue')]],
      ['204', {}, [['x-ignore-me', 'x']]],
      ['403 AccessDenied', { conditions: [{ bucket: 'open' }] }, []],
      ['403 AccessDenied', { more: { conditions: standing.slice(1) } }, []],
      ['403 AccessDenied', { expiration: '2020-01-01T00:00:00Z' }, []],
      ['400 InvalidPolicyDocument', { expiration: '2020-01-01 00:00:00+00:00' }, []],
      ['400 InvalidPolicyDocument', { expiration: undefined }, []],
      ['400 InvalidPolicyDocument', { more: { conditions: undefined } }, []],
      ['400 InvalidPolicyDocument', { conditions: [{}] }, []],
      ['400 InvalidPolicyDocument', { conditions: [['like', '$key', 'x']] }, []],
      ['400 InvalidPolicyDocument', { conditions: [['eq', 'key', 'x']] }, []],
      ['400 InvalidPolicyDocument', { conditions: [['eq', '$key', 1]] }, []],
      ['400 InvalidPolicyDocument', { conditions: [['content-length-range', 0]] }, []],
      ['400 InvalidPolicyDocument', { conditions: [['content-length-range', -1, 5]] }, []],
      ['400 InvalidPolicyDocument', { conditions: [['content-length-range', 6, 5]] }, []],
      ['204', { conditions: [['content-length-range', 5, 5]] }, []],
      ['400 EntityTooLarge', { conditions: [['content-length-range', 0, 4]] }, []],
      ['400 EntityTooSmall', { conditions: [['content-length-range', 6, 9]] }, []],
    ];
    for (const [wanted, policy, more] of cases) {
      s3.backend.buckets.get('b')?.objects.clear();
      const got = await send([...plain, ...more, ...signed(policy), file]);
      expect([policy, more, got]).toEqual([policy, more, wanted]);
      expect(stored('b', 'in/k')).toBe(wanted === '204' ? 'hello' : undefined);
    }
    const elsewhere = plain.map(([name, value]): Field => [name, name === 'key' ? 'out/k' : value]);
    expect(await send([...elsewhere, ...signed(), file])).toBe('403 AccessDenied');
  });

  it('give the object what their fields say', async () => {
    const fields: Field[] = [
      ['KEY', 'in/${filename}'],
      ['Content-Type', 'text/css'],
      ['x-amz-meta-name', 'Zo\u00eb'],
      ['Cache-Control', 'no-store'],
      ['x-amz-checksum-sha256', 'LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ='],
      ['file', 'hello', 'C:\\my docs/a.css'],
      ['acl', 'behind the file nothing counts'],
    ];
    expect(await send(fields, 'open')).toBe('204');
    const object = s3.backend.buckets.get('open')?.objects.get('in/a.css');
    expect(object?.metadata).toEqual({
      system: { contentType: 'text/css', cacheControl: 'no-store' },
      user: { name: 'Zo\u00eb' },
    });
    const wrong = fields.map(([name, value]): Field => [
      name,
      name.includes('checksum') ? 'sailorjerry' : value,
    ]);
    expect(await send(wrong, 'open')).toBe('400 InvalidRequest');
    const other = 'AAAAul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=';
    const bad = fields.map(([name, value]): Field => [name, name.includes('checksum') ? other : value]);
    expect(await send(bad, 'open')).toBe('400 BadDigest');
    expect(await send([['key', 'k'], ['x-amz-meta-a', 'b\r\nset-cookie: c'], file], 'open')).toBe(
      '400 InvalidArgument',
    );
  });

  it('answer as they are asked to', async () => {
    const answer = (field: Field): Promise<Response> => post('open', formOf([...plain, field, file]));
    const created = await answer(['success_action_status', '201']);
    const xml = await created.text();
    expect([created.status, textOf(xml, 'Key'), textOf(xml, 'Bucket')]).toEqual([201, 'in/k', 'open']);
    expect((await answer(['success_action_status', '200'])).status).toBe(200);
    expect((await answer(['success_action_status', '404'])).status).toBe(204);
    const redirect = await answer(['success_action_redirect', 'https://example.com/done?x=1']);
    expect([redirect.status, redirect.headers.get('location')]).toEqual([
      303,
      'https://example.com/done?x=1&bucket=open&key=in/k&etag=%225d41402abc4b2a76b9719d911017c592%22',
    ]);
    for (const target of ['javascript:alert(1)', 'https://e.com/\r\nx: y', '/here', 'https://']) {
      expect([target, (await answer(['success_action_redirect', target])).status]).toEqual([target, 204]);
    }
  });

  it('that are not well-formed, or too big, are refused and store nothing', async () => {
    const whole = formOf([...plain, file]);
    for (let length = 0; length < whole.length - 2; length += 1) {
      const answer = await outcome(await post('open', whole.slice(0, length)));
      expect([length, answer.slice(0, 3)]).toEqual([length, '400']);
    }
    expect(s3.backend.buckets.get('open')?.objects.size).toBe(0);
    expect(await send([...plain], 'open')).toBe('400 InvalidArgument');
    expect(await send([['acl', 'private'], file], 'open')).toBe('400 InvalidArgument');
    expect(await send([['key', ''], file], 'open')).toBe('400 InvalidArgument');
    expect(await send([['key', 'a'], ['Key', 'b'], file], 'open')).toBe('400 InvalidArgument');
    expect(await send([['key', 'k'.repeat(1025)], file], 'open')).toBe('400 KeyTooLongError');
    expect(await send([['key', 'a'], ['x', 'y'.repeat(21_000)], file], 'open')).toBe(
      '400 MaxPostPreDataLengthExceeded',
    );
    const many = Array.from({ length: 101 }, (_, i): Field => [`f${i}`, '']);
    expect(await send([...many, file], 'open')).toBe('400 MaxPostPreDataLengthExceeded');
    expect(await outcome(await post('open', whole, { 'content-type': 'text/plain' }))).toBe(
      '412 PreconditionFailed',
    );
    expect(await outcome(await post('open', whole, { 'content-type': 'multipart/form-data' }))).toBe(
      '400 MalformedPOSTRequest',
    );
    expect(s3.backend.buckets.get('open')?.objects.size).toBe(0);
  });
});

describe('FormReader', () => {
  it('gives back any parts, however they are cut', async () => {
    const names = fc.stringMatching(/^[a-z]{1,5}$/);
    const value = fc.string({ unit: fc.constantFrom('\r', '\n', '-', 'x', 'Y', 'z'), maxLength: 30 });
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(names, value), { minLength: 1, maxLength: 4 }),
        fc.array(fc.nat(12), { minLength: 1, maxLength: 20 }),
        async (parts, cuts) => {
          fc.pre(parts.every(([, text]) => !`\r\n${text}\r\n`.includes(`--${boundary}`)));
          const reader = new FormReader(pieces(Buffer.from(formOf(parts)), cuts), boundary);
          const read: [string, string][] = [];
          for (let part = await reader.next(); part !== undefined; part = await reader.next()) {
            const held: Uint8Array[] = [];
            for await (const piece of part.body) held.push(Buffer.from(piece));
            read.push([part.name, Buffer.concat(held).toString()]);
          }
          expect(read).toEqual(parts);
        },
      ),
      { numRuns: 300 },
    );
  });
});

async function* pieces(bytes: Buffer, cuts: readonly number[]): AsyncGenerator<Uint8Array> {
  for (let at = 0, i = 0; at < bytes.length; i += 1) {
    const length = (cuts[i % cuts.length] ?? 0) + 1;
    yield bytes.subarray(at, at + length);
    at += length;
  }
}
