import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { S3Error } from './errors.ts';
import { decodeForm, decodePercent, encodeForListing } from './http/percent.ts';
import { Query } from './http/query.ts';
import { splitTarget } from './http/target.ts';
import { headerValue, rfc2047Decode, rfc2047Encode } from './request/header_text.ts';
import { continuationToken, readContinuationToken } from './request/listing.ts';
import { parseETags } from './request/preconditions.ts';
import { parseRange } from './request/range.ts';
import { parseResource } from './resource.ts';
import { readXml } from './xml/read.ts';
import { escapeXml } from './xml/write.ts';

/** Any text that has a form in UTF-8: no half of a surrogate pair alone. */
const text = fc.string({ unit: 'binary', maxLength: 200 }).map((value) => value.toWellFormed());
const anything = fc.string({ unit: 'binary', maxLength: 200 });

describe('what is written can be read again', () => {
  it('as XML', () => {
    fc.assert(
      fc.property(text, (value) => {
        expect(readXml(Buffer.from(`<a><b>${escapeXml(value)}</b></a>`), 'a').text('b')).toBe(value);
      }),
    );
  });

  it('in percent-encoding, with nothing left that a URL or XML would read otherwise', () => {
    fc.assert(
      fc.property(text, (value) => {
        const encoded = encodeForListing(value);
        expect(encoded).toMatch(/^[A-Za-z0-9\-._~/*%]*$/);
        expect(decodePercent(encoded)).toBe(value);
        expect(decodeForm(encoded)).toBe(value);
      }),
    );
  });

  it('as a continuation token, and nothing else is one', () => {
    fc.assert(
      fc.property(text, anything, (value, other) => {
        const token = continuationToken(value);
        expect(readContinuationToken(token)).toBe(value);
        if (other !== token) {
          try {
            expect(continuationToken(readContinuationToken(other))).toBe(other);
          } catch (error) {
            expect(error).toBeInstanceOf(S3Error);
          }
        }
      }),
    );
  });

  it('as a key in a path', () => {
    const key = text.filter(
      (value) => value !== '' && !value.includes('\0') && Buffer.byteLength(value) <= 1024,
    );
    fc.assert(
      fc.property(key, (value) => {
        const target = `/bucket/${value.split('/').map(encodeURIComponent).join('/')}?x=/y`;
        const resource = parseResource(splitTarget(target).rawPath, { host: undefined });
        expect(resource).toEqual({ level: 'object', bucket: 'bucket', key: value });
      }),
    );
  });

  it('as user metadata', () => {
    const value = text.filter((candidate) => !candidate.includes('=?'));
    fc.assert(
      fc.property(value, (sent) => {
        const header = rfc2047Encode(sent);
        expect(header).toMatch(/^[\t -~]*$/);
        expect(rfc2047Decode(header)).toBe(sent);
      }),
    );
  });

  it('as a query', () => {
    fc.assert(
      fc.property(fc.dictionary(text, text), (values) => {
        const raw = Object.entries(values).map((pair) => pair.map(encodeURIComponent).join('='));
        const query = Query.parse(raw.join('&'));
        for (const [name, value] of Object.entries(values)) expect(query.get(name)).toBe(value);
      }),
    );
  });
});

describe('whatever comes', () => {
  it('is parsed or refused', () => {
    fc.assert(
      fc.property(anything, (value) => {
        parseRange(value);
        parseETags(value);
        rfc2047Decode(value);
        expect(headerValue(value)).toMatch(/^[\t\u0020-\u007e\u0080-\u00ff]*$/);
        for (const work of [
          () => Query.parse(value),
          () => parseResource(splitTarget(value).rawPath, { host: value, domain: 'd' }),
          () => readXml(Buffer.from(value), 'a'),
        ]) {
          try {
            work();
          } catch (error) {
            expect(error).toBeInstanceOf(S3Error);
          }
        }
      }),
    );
  });
});
