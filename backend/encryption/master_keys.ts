import { ConditionFailedError, UnavailableError } from '../../s3db/errors.ts';
import type { Condition } from '../../s3db/database.ts';
import { decodeRecord, encodeRecord } from '../engine/record.ts';
import type { GlobalState } from '../global_state.ts';
import { scanPages } from '../state_rows.ts';
import { KeyringError } from './errors.ts';
import type { Keyring, KeyName } from './keyring.ts';

const rowVersion = 1;
const tokenBytes = 16;
const maxAttempts = 16;
const rowsPerPage = 500;
const retryMs = 2000;
const prefix = Buffer.from('encryption/key/');

interface MasterKeysOptions {
  /** Reads the keyring from where the configuration says. */
  readonly read: () => Promise<Keyring>;
  readonly state: GlobalState;
  readonly logger: MasterKeysLogger;
  readonly randomBytes: (length: number) => Uint8Array;
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>;
}

interface MasterKeysLogger {
  warn(fields: object, message: string): void;
  info(fields: object, message: string): void;
}

/** What a key wraps: content under whatever key is active (`rest`), or content whose owner named the key (`kms`). */
export type KeyUse = 'rest' | 'kms';

/** A key that something may be wrapped under, as the state knows it. */
export interface RegisteredKey extends KeyName {
  readonly use: KeyUse;
  /** The row, for conditions. */
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

/**
 * The keyring in use, and its register in the state: a row for each key under which content may be wrapped. Every batch
 * that names content newly wrapped under a key is conditional on that key's row, so a row that could be removed means
 * that nothing needs the key any more. A keyring that lacks a registered key is refused.
 */
export class MasterKeys {
  readonly #options: MasterKeysOptions;
  readonly #known = new Map<string, Uint8Array>();
  readonly #stopping = new AbortController();
  #ring: Keyring;
  #checked: Promise<void> | undefined;

  private constructor(options: MasterKeysOptions, ring: Keyring) {
    this.#options = options;
    this.#ring = ring;
  }

  /** Reads the keyring and nothing else. @throws KeyringError */
  static async open(options: MasterKeysOptions): Promise<MasterKeys> {
    return new MasterKeys(options, await options.read());
  }

  get ring(): Keyring {
    return this.#ring;
  }

  /**
   * Holds the keyring against the register, until that could be read; nothing is wrapped before.
   * @throws KeyringError `wrong-key` or `lacks-key` when content needs a key that isn't there.
   */
  check(): Promise<void> {
    this.#checked ??= this.#checkUntilDone();
    // Who waits for it hears of a failure; where nobody does yet, it isn't unhandled.
    this.#checked.catch(() => undefined);
    return this.#checked;
  }

  /** Reads the keyring again. One that can't be used changes nothing. @throws KeyringError */
  async reload(): Promise<void> {
    const ring = await this.#options.read();
    await this.#checkOnce(ring);
    this.#ring = ring;
    this.#options.logger.info({ source: ring.source, active: ring.active.id }, 'keyring read again');
  }

  get closed(): boolean {
    return this.#stopping.signal.aborted;
  }

  /** Ends a check that still waits for the state. */
  close(): void {
    this.#stopping.abort();
  }

  /**
   * What a batch that names content wrapped under the key must be conditional on. Registers the key first where it
   * isn't registered, or is about to be removed.
   * @param fresh the condition didn't hold: look again.
   */
  async inUse(name: KeyName, options: { readonly use: KeyUse; readonly fresh: boolean }): Promise<Condition> {
    await this.check();
    const key = rowKey(name, options.use);
    const known = options.fresh ? undefined : this.#known.get(textOf(key));
    const value = known ?? (await this.#register({ ...name, use: options.use }, key));
    this.#known.set(textOf(key), value);
    return { table: 'state', key, equals: value };
  }

  /** Every key under which something may be wrapped. */
  async registered(): Promise<RegisteredKey[]> {
    const keys: RegisteredKey[] = [];
    for await (const page of scanPages(this.#options.state, { table: 'state', prefix, limit: rowsPerPage })) {
      for (const { key, value } of page.items) {
        const fields = decodeRecord(value, { kind: 'encryption key', newest: rowVersion });
        keys.push({
          key,
          value,
          id: fields.text('id'),
          fingerprint: fields.bytes('fingerprint'),
          use: fields.text('use') === 'kms' ? 'kms' : 'rest',
        });
      }
    }
    return keys;
  }

  /** Keys under which new content isn't wrapped any more; what is left under them is to be wrapped anew. */
  async obsolete(): Promise<RegisteredKey[]> {
    const { active } = this.#ring;
    const isActive = (key: KeyName): boolean =>
      key.id === active.id && Buffer.compare(key.fingerprint, active.fingerprint) === 0;
    return (await this.registered()).filter((key) =>
      key.use === 'rest' ? !isActive(key) : !this.#ring.isCurrent(key),
    );
  }

  /**
   * Begins to retire a key: batches that were conditional on its row fail from now on, and whoever still wraps under it
   * registers it again. @returns the row to give to `remove`, or undefined when somebody was faster.
   */
  async mark(key: RegisteredKey): Promise<RegisteredKey | undefined> {
    const value = this.#encode(key, { retiring: true });
    return (await this.#swap(key, value)) ? { ...key, value } : undefined;
  }

  /** Removes a key's row that is as `mark` left it. @returns false when the key has been used since. */
  async remove(key: RegisteredKey): Promise<boolean> {
    this.#known.delete(textOf(key.key));
    return this.#swap(key, undefined);
  }

  async #checkUntilDone(): Promise<void> {
    const { signal } = this.#stopping;
    for (;;) {
      try {
        await this.#checkOnce(this.#ring);
        return;
      } catch (error) {
        if (!(error instanceof UnavailableError) || signal.aborted) throw error;
        this.#options.logger.warn({ err: error }, 'the keyring could not be held against its register yet');
        await this.#options.sleep(retryMs, signal);
      }
    }
  }

  async #checkOnce(ring: Keyring): Promise<void> {
    for (const name of await this.registered()) {
      if (ring.has(name)) continue;
      const fingerprint = Buffer.from(name.fingerprint).toString('hex');
      throw ring.current(name.id) === undefined
        ? new KeyringError(
            'lacks-key',
            ring.source,
            `lacks the key '${name.id}' (fingerprint ${fingerprint}), which stored content needs; put it back`,
          )
        : new KeyringError(
            'wrong-key',
            ring.source,
            `has another key '${name.id}' than the one that stored content needs (fingerprint ${fingerprint}); ` +
              `put that one back, as its key or among its previous ones`,
          );
    }
  }

  async #register(name: KeyName & { readonly use: KeyUse }, key: Uint8Array): Promise<Uint8Array> {
    const { state } = this.#options;
    for (let attempt = 0; attempt < maxAttempts; attempt++) {
      const found = await state.get('state', key);
      if (found !== undefined && !isRetiring(found)) return found;
      const value = this.#encode(name, { retiring: false });
      const registered = { ...name, key, value: found ?? new Uint8Array(0) };
      if (await this.#swap(found === undefined ? { key } : registered, value)) return value;
    }
    throw new UnavailableError(`the key '${name.id}' could not be registered`);
  }

  /** Replaces or deletes the row if it is as given: absent, where `row` has no value. */
  async #swap(
    row: { readonly key: Uint8Array; readonly value?: Uint8Array },
    value: Uint8Array | undefined,
  ): Promise<boolean> {
    const at = { table: 'state', key: row.key };
    try {
      await this.#options.state.batch({
        conditions: [row.value === undefined ? { ...at, exists: false } : { ...at, equals: row.value }],
        operations: [value === undefined ? { ...at, type: 'delete' } : { ...at, type: 'put', value }],
      });
      return true;
    } catch (error) {
      if (error instanceof ConditionFailedError) return false;
      throw error;
    }
  }

  /** The token makes every value another one: a condition on an earlier value never holds again. */
  #encode(name: KeyName & { readonly use: KeyUse }, options: { readonly retiring: boolean }): Uint8Array {
    return encodeRecord(rowVersion, {
      id: name.id,
      use: name.use,
      fingerprint: name.fingerprint,
      token: this.#options.randomBytes(tokenBytes),
      retiring: options.retiring,
    });
  }
}

function isRetiring(value: Uint8Array): boolean {
  return decodeRecord(value, { kind: 'encryption key', newest: rowVersion }).boolean('retiring');
}

function rowKey(name: KeyName, use: KeyUse): Uint8Array {
  return Buffer.concat([prefix, Buffer.from(`${use}/`), name.fingerprint, Buffer.from(name.id, 'utf8')]);
}

function textOf(key: Uint8Array): string {
  return Buffer.from(key).toString('hex');
}
