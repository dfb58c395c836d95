import { parse, TomlError } from 'smol-toml';
import { KeyNotFoundError, KeyringError } from './errors.ts';
import { fingerprintOf, keyBytes } from './wrapping.ts';

/** One key of the ring: the name that people give it, and what tells it from others of the same name. */
export interface RingKey {
  readonly id: string;
  readonly fingerprint: Uint8Array;
  /** 32 bytes. */
  readonly material: Uint8Array;
}

export type KeyName = Pick<RingKey, 'id' | 'fingerprint'>;

/** The name of the only key of a key file that is nothing but a key. */
const loneKeyId = 'default';
const maxKeys = 1000;
const idPattern = /^[A-Za-z0-9][A-Za-z0-9._:/@+=-]{0,255}$/;
const shape = 'give 32 bytes as 64 hexadecimal digits or as base64';

/**
 * The keys that data keys are wrapped under. New content is wrapped under a key's current material; earlier materials
 * only unwrap, until everything has been wrapped anew.
 */
export class Keyring {
  /** Where it came from, for messages. */
  readonly source: string;
  /** Wraps what no key was named for: content at rest, and SSE-S3. */
  readonly active: RingKey;
  /** Wraps SSE-KMS content for which no key was named; absent: naming one is required. */
  readonly kmsDefault: RingKey | undefined;
  readonly #keys: ReadonlyMap<string, readonly RingKey[]>;

  private constructor(
    source: string,
    keys: ReadonlyMap<string, readonly RingKey[]>,
    chosen: { readonly active: RingKey; readonly kmsDefault: RingKey | undefined },
  ) {
    this.source = source;
    this.#keys = keys;
    this.active = chosen.active;
    this.kmsDefault = chosen.kmsDefault;
  }

  /**
   * Reads the text of a key file: a key alone, or TOML with `active`, `[[keys]]` of `id`, `key` and `previous`, and
   * `kms_default`.
   * @throws KeyringError `malformed`, without repeating any of the text.
   */
  static parse(text: string, source: string): Keyring {
    const lone = parseKey(text.trim());
    if (lone !== undefined) {
      const key = ringKey(loneKeyId, lone);
      return new Keyring(source, new Map([[loneKeyId, [key]]]), { active: key, kmsDefault: undefined });
    }
    const table = parseTable(text, source);
    refuseUnknown(table, ['active', 'kms_default', 'keys'], { source, where: '' });
    const keys = readKeys(table['keys'], source);
    const active = chosen(table, { name: 'active', keys, source });
    if (active === undefined) throw malformed(source, 'active must name one of the [[keys]]');
    return new Keyring(source, keys, {
      active,
      kmsDefault: chosen(table, { name: 'kms_default', keys, source }),
    });
  }

  /** The material that wraps now under that id. */
  current(id: string): RingKey | undefined {
    return this.#keys.get(id)?.[0];
  }

  /**
   * The very key that something was wrapped under.
   * @throws KeyNotFoundError that tells a key that isn't there from another key of the same name.
   */
  find(name: KeyName): RingKey {
    const keys = this.#keys.get(name.id) ?? [];
    const found = keys.find((key) => Buffer.compare(key.fingerprint, name.fingerprint) === 0);
    if (found !== undefined) return found;
    const shown = `'${name.id}' (fingerprint ${hex(name.fingerprint)})`;
    throw new KeyNotFoundError(
      keys.length === 0
        ? `the key ${shown} is not in ${this.source}`
        : `the key '${name.id}' of ${this.source} is not the one that was used, ${shown}`,
    );
  }

  has(name: KeyName): boolean {
    return (
      this.#keys.get(name.id)?.some((key) => Buffer.compare(key.fingerprint, name.fingerprint) === 0) === true
    );
  }

  /** Whether new content may be wrapped under it. */
  isCurrent(name: KeyName): boolean {
    const current = this.current(name.id);
    return current !== undefined && Buffer.compare(current.fingerprint, name.fingerprint) === 0;
  }
}

function readKeys(value: unknown, source: string): ReadonlyMap<string, readonly RingKey[]> {
  if (!Array.isArray(value) || value.length === 0) throw malformed(source, 'there must be [[keys]]');
  if (value.length > maxKeys) throw malformed(source, `there may be at most ${maxKeys} [[keys]]`);
  const keys = new Map<string, readonly RingKey[]>();
  for (const [i, entry] of (value as readonly unknown[]).entries()) {
    const where = `keys[${i}]`;
    if (!isTable(entry)) throw malformed(source, `${where} must be a table`);
    refuseUnknown(entry, ['id', 'key', 'previous'], { source, where: `${where}.` });
    const { id } = entry;
    if (typeof id !== 'string' || !idPattern.test(id)) {
      throw malformed(source, `${where}.id must be a name of letters, digits and ._:/@+=-`);
    }
    if (keys.has(id)) throw malformed(source, `${where}.id: '${id}' is given twice`);
    keys.set(id, readMaterials(entry, { id, where, source }));
  }
  return keys;
}

function readMaterials(
  entry: Readonly<Record<string, unknown>>,
  at: { readonly id: string; readonly where: string; readonly source: string },
): readonly RingKey[] {
  const previous = entry['previous'] ?? [];
  if (!Array.isArray(previous)) throw malformed(at.source, `${at.where}.previous must be a list of keys`);
  const all = [entry['key'], ...(previous as readonly unknown[])].map((value, i) => {
    const material = typeof value === 'string' ? parseKey(value) : undefined;
    if (material !== undefined) return ringKey(at.id, material);
    throw malformed(at.source, `${at.where}.${i === 0 ? 'key' : `previous[${i - 1}]`} is no key; ${shape}`);
  });
  if (new Set(all.map((key) => hex(key.fingerprint))).size < all.length) {
    throw malformed(at.source, `${at.where} has the same key twice`);
  }
  return all;
}

function chosen(
  table: Readonly<Record<string, unknown>>,
  options: {
    readonly name: string;
    readonly keys: ReadonlyMap<string, readonly RingKey[]>;
    readonly source: string;
  },
): RingKey | undefined {
  const id = table[options.name];
  if (id === undefined) return undefined;
  const key = typeof id === 'string' ? options.keys.get(id)?.[0] : undefined;
  if (key === undefined) throw malformed(options.source, `${options.name} must name one of the [[keys]]`);
  return key;
}

function parseTable(text: string, source: string): Readonly<Record<string, unknown>> {
  try {
    return parse(text);
  } catch (error) {
    // The parser's message would quote the line, and with it a key.
    if (!(error instanceof TomlError)) throw error;
    throw malformed(source, `holds neither a key nor valid TOML (line ${error.line}); ${shape}`);
  }
}

/** 32 bytes, or undefined for what is no key. */
function parseKey(text: string): Uint8Array | undefined {
  if (/^[0-9a-fA-F]{64}$/.test(text)) return new Uint8Array(Buffer.from(text, 'hex'));
  if (!/^[A-Za-z0-9+/]{43}=$/.test(text)) return undefined;
  const key = Buffer.from(text, 'base64');
  return key.length === keyBytes && key.toString('base64') === text ? new Uint8Array(key) : undefined;
}

function ringKey(id: string, material: Uint8Array): RingKey {
  return { id, material, fingerprint: fingerprintOf(material) };
}

function refuseUnknown(
  table: Readonly<Record<string, unknown>>,
  known: readonly string[],
  at: { readonly source: string; readonly where: string },
): void {
  for (const name of Object.keys(table)) {
    if (!known.includes(name)) {
      throw malformed(at.source, `${at.where}${name}: unknown key; the keys here are ${known.join(', ')}`);
    }
  }
}

function isTable(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function malformed(source: string, message: string): KeyringError {
  return new KeyringError('malformed', source, message);
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
