import { decode, encode } from 'cborg';

/**
 * How rows are kept: a version byte, then a CBOR map. Readers accept every version that was ever written; a row that
 * is of a newer version, or isn't what it should be, is an error, never a guess.
 */
export function encodeRecord(version: number, fields: Readonly<Record<string, unknown>>): Uint8Array {
  const present = Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
  const body = encode(present);
  const bytes = new Uint8Array(1 + body.length);
  bytes[0] = version;
  bytes.set(body, 1);
  return bytes;
}

/** @throws CorruptRecordError */
export function decodeRecord(bytes: Uint8Array, expected: { kind: string; newest: number }): RecordFields {
  const version = bytes[0];
  if (version === undefined || version < 1 || version > expected.newest) {
    throw new CorruptRecordError(`${expected.kind} row has version ${version ?? 'none'}`);
  }
  let body: unknown;
  try {
    body = decode(bytes.subarray(1));
  } catch (cause) {
    throw new CorruptRecordError(`${expected.kind} row is not CBOR`, { cause });
  }
  return new RecordFields(expected.kind, version, body);
}

/** A row in the metadata isn't what this code, or any before it, wrote. */
export class CorruptRecordError extends Error {
  override readonly name = 'CorruptRecordError';
}

/** Typed look at a decoded map. Every getter throws CorruptRecordError on a value of another type. */
export class RecordFields {
  readonly version: number;
  readonly #kind: string;
  readonly #fields: Readonly<Record<string, unknown>>;

  constructor(kind: string, version: number, body: unknown) {
    if (typeof body !== 'object' || body === null || Array.isArray(body)) {
      throw new CorruptRecordError(`${kind} row is not a map`);
    }
    this.#kind = kind;
    this.version = version;
    this.#fields = body as Readonly<Record<string, unknown>>;
  }

  has(name: string): boolean {
    return this.#fields[name] !== undefined;
  }

  text(name: string): string {
    return this.optionalText(name) ?? this.#missing(name);
  }

  optionalText(name: string): string | undefined {
    const value = this.#fields[name];
    return value === undefined || typeof value === 'string' ? value : this.#wrong(name);
  }

  integer(name: string): number {
    return this.optionalInteger(name) ?? this.#missing(name);
  }

  optionalInteger(name: string): number | undefined {
    const value = this.#fields[name];
    if (value === undefined) return undefined;
    return typeof value === 'number' && Number.isSafeInteger(value) ? value : this.#wrong(name);
  }

  boolean(name: string): boolean {
    const value = this.#fields[name];
    return typeof value === 'boolean' ? value : this.#wrong(name);
  }

  bytes(name: string): Uint8Array {
    return this.optionalBytes(name) ?? this.#missing(name);
  }

  optionalBytes(name: string): Uint8Array | undefined {
    const value = this.#fields[name];
    return value === undefined || value instanceof Uint8Array ? value : this.#wrong(name);
  }

  map(name: string): RecordFields {
    return new RecordFields(`${this.#kind}.${name}`, this.version, this.#fields[name]);
  }

  optionalMap(name: string): RecordFields | undefined {
    return this.#fields[name] === undefined ? undefined : this.map(name);
  }

  optionalArray(name: string): readonly unknown[] | undefined {
    const value = this.#fields[name];
    return value === undefined || Array.isArray(value) ? value : this.#wrong(name);
  }

  /** All fields, each of which must be text. */
  texts(): Readonly<Record<string, string>> {
    for (const name of Object.keys(this.#fields)) this.text(name);
    return this.#fields as Readonly<Record<string, string>>;
  }

  /** All fields, each of which must be text or bytes. */
  textsOrBytes(): ReadonlyMap<string, string | Uint8Array> {
    const fields = Object.entries(this.#fields);
    return new Map(
      fields.map(([name, value]) => [
        name,
        typeof value === 'string' || value instanceof Uint8Array ? value : this.#wrong(name),
      ]),
    );
  }

  #missing(name: string): never {
    throw new CorruptRecordError(`${this.#kind} row lacks ${name}`);
  }

  #wrong(name: string): never {
    throw new CorruptRecordError(`${this.#kind} row has a wrong ${name}`);
  }
}
