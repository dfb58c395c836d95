import { describe, expect, it } from 'vitest';
import { S3Error } from '../errors.ts';
import { readLifecycleConfiguration } from './read_configuration.ts';
import { lifecycleConfigurationXml } from './write_configuration.ts';

const read = (...rules: string[]): string =>
  readLifecycleConfiguration(
    Buffer.from(
      `<LifecycleConfiguration>${rules.map((rule) => `<Rule>${rule}</Rule>`).join('')}</LifecycleConfiguration>`,
    ),
  );
const on = '<Status>Enabled</Status><Prefix>a</Prefix>';
const days = '<Expiration><Days>1</Days></Expiration>';

function codeOf(...rules: string[]): string {
  try {
    read(...rules);
    return 'accepted';
  } catch (error) {
    if (error instanceof S3Error) return error.code;
    throw error;
  }
}

describe('a lifecycle configuration', () => {
  it('is given back as it was understood', () => {
    const rules = [
      '<ID>one</ID><Prefix>a/</Prefix><Status>Enabled</Status><Expiration><Days>3</Days></Expiration>',
      '<ID>two</ID><Filter></Filter><Status>Disabled</Status><Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>',
      '<ID>three</ID><Filter><Tag><Key>k</Key><Value>v</Value></Tag></Filter><Status>Enabled</Status><Expiration><Date>2030-01-01T00:00:00.000Z</Date></Expiration>',
      '<ID>four</ID><Filter><And><Prefix>p</Prefix><Tag><Key>k</Key><Value>v</Value></Tag><ObjectSizeGreaterThan>1</ObjectSizeGreaterThan><ObjectSizeLessThan>9</ObjectSizeLessThan></And></Filter><Status>Enabled</Status><NoncurrentVersionExpiration><NoncurrentDays>2</NoncurrentDays><NewerNoncurrentVersions>5</NewerNoncurrentVersions></NoncurrentVersionExpiration>',
      '<ID>five</ID><Filter><Prefix></Prefix></Filter><Status>Enabled</Status><AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation></AbortIncompleteMultipartUpload>',
    ];
    const written = lifecycleConfigurationXml(read(...rules));
    for (const rule of rules) expect(written).toContain(`<Rule>${rule}</Rule>`);
    expect(lifecycleConfigurationXml(read(`${on}${days}`))).toMatch(/<ID>[0-9a-f-]{36}<\/ID>/);
  });

  it('is refused where it says nothing that can be carried out', () => {
    const expiration = (inner: string): string => `${on}<Expiration>${inner}</Expiration>`;
    const filter = (inner: string): string => `<Status>Enabled</Status><Filter>${inner}</Filter>`;
    const tag = '<Tag><Key>k</Key><Value>v</Value></Tag>';
    const abort =
      '<AbortIncompleteMultipartUpload><DaysAfterInitiation>1</DaysAfterInitiation></AbortIncompleteMultipartUpload>';
    const cases: Record<string, string[][]> = {
      accepted: [
        [`${on}${days}`],
        [`${filter(`<Prefix>ab</Prefix>${tag}<And><Prefix>a</Prefix></And>`)}${days}`],
      ],
      MalformedXML: [
        [],
        [`<Status>enabled</Status><Prefix></Prefix>${days}`],
        [`<Prefix></Prefix>${days}`],
        [`<Status>Enabled</Status>${days}`],
        [`${on}<Filter></Filter>${days}`],
        [`${on}${days}<Other/>`],
        [expiration('')],
        [expiration('<Days>1</Days><Date>2030-01-01</Date>')],
        [expiration('<Days>x</Days>')],
        [expiration('<Date>soon</Date>')],
        [`${filter(`${tag}${tag}`)}${days}`],
        [`${filter('<Prefix>x</Prefix><And><Prefix>a</Prefix></And>')}${days}`],
        [`${filter('<ObjectSizeLessThan>x</ObjectSizeLessThan>')}${days}`],
      ],
      InvalidArgument: [
        [expiration('<Days>0</Days>')],
        [expiration('<Days>-1</Days>')],
        [expiration('<Date>1970-08-22T19:08:21Z</Date>')],
        [`<ID>${'a'.repeat(256)}</ID>${on}${days}`],
        [`<ID>a</ID>${on}${days}`, `<ID>a</ID>${on}${days}`],
        [
          `${on}<NoncurrentVersionExpiration><NoncurrentDays>0</NoncurrentDays></NoncurrentVersionExpiration>`,
        ],
      ],
      InvalidRequest: [
        [on],
        [`${filter(`<And>${tag}${tag}</And>`)}${days}`],
        [`${filter(tag)}${abort}`],
        [
          `${filter(tag)}<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>`,
        ],
      ],
      NotImplemented: [[`${on}<Transition><Days>1</Days><StorageClass>GLACIER</StorageClass></Transition>`]],
    };
    for (const [code, documents] of Object.entries(cases)) {
      for (const rules of documents) expect([rules, codeOf(...rules)]).toEqual([rules, code]);
    }
  });
});
