import { ByteReader } from '../byte_codec.ts';
import { LevelDamagedError } from './damage.ts';

/** Which files a Level consists of, as its MANIFEST says (LevelDB's db/version_edit.cc). */
export interface LevelVersion {
  /** Logs from this number on are replayed at the next open. */
  readonly logNumber: number;
  readonly previousLogNumber: number;
  /** Table number to size in bytes. */
  readonly tables: ReadonlyMap<number, number>;
}

const comparator = 1;
const logNumberTag = 2;
const nextFile = 3;
const lastSequence = 4;
const compactPointer = 5;
const deletedFile = 6;
const newFile = 7;
const previousLogTag = 9;

/** Follows the edits. @throws LevelDamagedError, MalformedBytesError */
export function readManifest(records: readonly Uint8Array[]): LevelVersion {
  const tables = new Map<number, number>();
  let logNumber = 0;
  let previousLogNumber = 0;
  for (const record of records) {
    const input = new ByteReader(record);
    while (input.remaining > 0) {
      const tag = input.varint();
      switch (tag) {
        case comparator:
          input.bytes();
          break;
        case logNumberTag:
          logNumber = input.varint();
          break;
        case previousLogTag:
          previousLogNumber = input.varint();
          break;
        case nextFile:
        case lastSequence:
          input.varint();
          break;
        case compactPointer:
          input.varint();
          input.bytes();
          break;
        case deletedFile:
          input.varint();
          tables.delete(input.varint());
          break;
        case newFile: {
          input.varint();
          const number = input.varint();
          tables.set(number, input.varint());
          input.bytes();
          input.bytes();
          break;
        }
        default:
          throw new LevelDamagedError(`the MANIFEST holds an edit with tag ${tag}`);
      }
    }
  }
  return { logNumber, previousLogNumber, tables };
}
