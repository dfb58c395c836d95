import type { Checksum, ChecksumAlgorithm, ChecksumType } from '../backend.ts';
import type { Checksums } from '../checksums/checksums.ts';
import type { NumberedPart } from './part_rows.ts';

/** A part as it is stored. */
export type ChosenPart = NumberedPart;

/** The checksum of a multipart object, made of its parts' without reading a byte of them. */
export function checksumOfParts(
  checksums: Checksums,
  object: {
    readonly algorithm: ChecksumAlgorithm;
    readonly type: ChecksumType;
    readonly parts: readonly ChosenPart[];
  },
): Checksum {
  const { algorithm, type, parts } = object;
  if (type === 'FULL_OBJECT') {
    const raw = checksums.combine(
      algorithm,
      parts.map(({ row }) => ({ checksum: row.checksum, lengthBytes: row.sizeBytes })),
    );
    return { algorithm, type, value: Buffer.from(raw).toString('base64') };
  }
  const raw = checksums.compose(
    algorithm,
    parts.map(({ row }) => row.checksum),
  );
  return { algorithm, type, value: `${Buffer.from(raw).toString('base64')}-${parts.length}` };
}
