import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compareKeys, hiddenComponents, keyOfHidden, plainComponents } from './key_paths.ts';

const key = fc.string({ unit: 'binary', minLength: 1, maxLength: 300 }).filter((text) => text.isWellFormed());

describe('key paths', () => {
  it('are plain only for names that stay below the directory', () => {
    expect(plainComponents('a/b.txt')).toEqual(['a', 'b.txt']);
    expect(plainComponents('a/.s3d')).toEqual(['a', '.s3d']);
    for (const odd of [
      '',
      '/',
      'a/',
      '/a',
      'a//b',
      '.',
      '..',
      'a/..',
      './a',
      'a\0b',
      '.s3d',
      '.s3d/x',
      'x'.repeat(256),
    ]) {
      expect(plainComponents(odd)).toBeUndefined();
    }
  });

  it('hide any key in components that file systems take, and find it again', () => {
    fc.assert(
      fc.property(key, (text) => {
        const components = hiddenComponents(text);
        for (const component of components) expect(component).toMatch(/^[df][0-9a-f]{1,240}$/);
        expect(keyOfHidden(components)).toBe(text);
      }),
    );
  });

  it('hide no key where another needs a directory', () => {
    fc.assert(
      fc.property(key, key, (a, b) => {
        if (a === b) return;
        const [pathA, pathB] = [hiddenComponents(a).join('/'), hiddenComponents(b).join('/')];
        expect(pathA).not.toBe(pathB);
        expect(pathB.startsWith(`${pathA}/`)).toBe(false);
      }),
    );
    expect(keyOfHidden(['f6'])).toBeUndefined();
    expect(keyOfHidden(['fzz'])).toBeUndefined();
    expect(keyOfHidden(['fff'])).toBeUndefined();
  });

  it('compare as their UTF-8 bytes do', () => {
    fc.assert(
      fc.property(key, key, (a, b) => {
        expect(Math.sign(compareKeys(a, b))).toBe(Math.sign(Buffer.compare(Buffer.from(a), Buffer.from(b))));
      }),
      {
        examples: [
          ['\u{1F600}', '\uFF5E'],
          ['a', 'a\0'],
        ],
      },
    );
  });
});
