import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  afterAllOf,
  contentIdOfDeleted,
  currentKey,
  deletedKey,
  escapeZeros,
  keyOfCurrent,
  keyOfOrdered,
  orderedPrefix,
  partKey,
  partNumberOf,
  uploadIdOfKey,
  uploadKey,
  versionKey,
} from './row_keys.ts';

const key = fc.string({ unit: 'binary', minLength: 1, maxLength: 40 }).filter((text) => text.isWellFormed());
const near = fc.string({ unit: fc.constantFrom('a', '\0', '\u0001', 'ÿ', '/'), minLength: 1, maxLength: 4 });
const time = fc.integer({ min: 0, max: 2 ** 48 - 1 });
const uploadId = fc.uint8Array({ minLength: 16, maxLength: 16 });
const bytes = (text: string): Buffer => Buffer.from(text, 'utf8');

describe('row keys', () => {
  it('are where the design has them', () => {
    expect(Buffer.from(currentKey('photos', 'a/b')).toString()).toBe('arn:aws:s3:::photos/a/b');
    const contentId = new Uint8Array(32).fill(7);
    expect(Buffer.from(deletedKey(contentId)).toString('latin1')).toBe(`deleted:${'\u0007'.repeat(32)}`);
    expect(contentIdOfDeleted(deletedKey(contentId))).toEqual(contentId);
    expect(contentIdOfDeleted(contentId)).toBeUndefined();
    expect(Buffer.from(orderedPrefix('b', 'x\0y')).toString('latin1')).toBe('b\0x\0\u00ffy');
  });

  it('give back the key that they were made of', () => {
    fc.assert(
      fc.property(key, time, uploadId, (text, mtimeMs, id) => {
        expect(keyOfCurrent('photos', currentKey('photos', text))).toBe(text);
        expect(keyOfOrdered('photos', versionKey('photos', { key: text, mtimeMs }))).toBe(text);
        const upload = uploadKey('photos', { key: text, uploadId: id });
        expect(keyOfOrdered('photos', upload)).toBe(text);
        expect(uploadIdOfKey(upload)).toEqual(new Uint8Array(id));
        expect(partNumberOf(partKey(id, 10_000))).toBe(10_000);
      }),
    );
  });

  it('sort by key, then newest version first and oldest upload first', () => {
    for (const text of [key, near]) {
      fc.assert(
        fc.property(text, text, time, time, uploadId, uploadId, (a, b, timeA, timeB, idA, idB) => {
          const byKey = Math.sign(Buffer.compare(bytes(a), bytes(b)));
          const versions = Buffer.compare(
            versionKey('p', { key: a, mtimeMs: timeA }),
            versionKey('p', { key: b, mtimeMs: timeB }),
          );
          expect(versions).toBe(byKey !== 0 ? byKey : Math.sign(timeB - timeA));
          const uploads = Buffer.compare(
            uploadKey('p', { key: a, uploadId: idA }),
            uploadKey('p', { key: b, uploadId: idB }),
          );
          expect(uploads).toBe(byKey !== 0 ? byKey : Buffer.compare(idA, idB));
          const after = Buffer.compare(afterAllOf('p', a), versionKey('p', { key: b, mtimeMs: timeB }));
          expect(after).toBe(byKey < 0 ? -1 : 1);
        }),
      );
    }
  });

  it('hold a delimiter, escaped, just where the key holds it', () => {
    for (const text of [key, near]) {
      fc.assert(
        fc.property(text, text, time, (whole, delimiter, mtimeMs) => {
          const row = Buffer.from(versionKey('', { key: whole, mtimeMs }));
          const found = row.indexOf(escapeZeros(delimiter), 1);
          const at = bytes(whole).indexOf(bytes(delimiter));
          if (at < 0) expect(found).toBe(-1);
          else expect(keyOfOrdered('', row.subarray(0, found))).toBe(bytes(whole).subarray(0, at).toString());
        }),
      );
    }
  });
});
