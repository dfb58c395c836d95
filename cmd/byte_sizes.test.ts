import { describe, expect, it } from 'vitest';
import { parseBytes, readableBytes } from './byte_sizes.ts';

describe('sizes in bytes', () => {
  it('are read with decimal and binary units, and without any', () => {
    const sizes = ['0', '17', '17B', '1.5KB', '10GiB', '2 TiB', '0.5 MiB'].map(parseBytes);
    expect(sizes).toEqual([0, 17, 17, 1500, 10 * 1024 ** 3, 2 * 1024 ** 4, 512 * 1024]);
  });

  it('are nothing else', () => {
    for (const text of [
      '',
      'GiB',
      '10gib',
      '10 Gi',
      '-1B',
      '1e3',
      '.5MB',
      '10iB',
      '1 GiB/s',
      '1constructor',
    ]) {
      expect(parseBytes(text), text).toBeUndefined();
    }
  });

  it('are shown with three digits and a binary unit', () => {
    const shown = [0, 1023, 2048, 15 * 1024, 500 * 1024 ** 2, 1024 ** 6].map(readableBytes);
    expect(shown).toEqual(['0 B', '1023 B', '2.00 KiB', '15.0 KiB', '500 MiB', '1024 PiB']);
  });
});
