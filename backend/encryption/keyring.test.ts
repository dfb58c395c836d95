import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { KeyNotFoundError, KeyringError } from './errors.ts';
import { readKeyring } from './key_source.ts';
import { Keyring } from './keyring.ts';
import { fingerprintOf } from './wrapping.ts';

const one = Buffer.alloc(32, 1);
const two = Buffer.alloc(32, 2);
const three = Buffer.alloc(32, 3);

describe('the text of a key file', () => {
  it.each([one.toString('hex'), one.toString('base64'), `\n${one.toString('base64')}\n`])(
    'may be a key alone: %j',
    (text) => {
      const ring = Keyring.parse(text, 'k');
      expect(ring.active).toMatchObject({ id: 'default', material: new Uint8Array(one) });
      expect(ring.kmsDefault).toBeUndefined();
    },
  );

  it('may name keys, with what they were before', () => {
    const ring = Keyring.parse(
      `active = "b"\nkms_default = "a"\n[[keys]]\nid = "a"\nkey = "${one.toString('hex')}"\n` +
        `[[keys]]\nid = "b"\nkey = "${two.toString('base64')}"\nprevious = ["${three.toString('base64')}"]\n`,
      'k',
    );
    expect(ring.active).toMatchObject({ id: 'b', material: new Uint8Array(two) });
    expect(ring.kmsDefault?.id).toBe('a');
    const before = { id: 'b', fingerprint: fingerprintOf(three) };
    expect(ring.find(before).material).toEqual(new Uint8Array(three));
    expect(ring.isCurrent(before)).toBe(false);
    expect(ring.isCurrent(ring.active)).toBe(true);
    expect(ring.current('c')).toBeUndefined();
  });

  it('tells a key that is missing from another key of its name', () => {
    const ring = Keyring.parse(one.toString('hex'), 'k');
    const gone = { id: '2025', fingerprint: fingerprintOf(two) };
    const other = { id: 'default', fingerprint: fingerprintOf(two) };
    expect(() => ring.find(gone)).toThrow(KeyNotFoundError);
    expect(() => ring.find(gone)).toThrow("the key '2025' (fingerprint");
    expect(() => ring.find(other)).toThrow("the key 'default' of k is not the one that was used");
  });

  const key = `key = "${one.toString('hex')}"`;
  it.each([
    ['', 'there must be [[keys]]'],
    ['c2hvcnQ=', 'holds neither a key nor valid TOML'],
    [one.toString('hex').slice(1), 'holds neither a key nor valid TOML'],
    ['active = "a"', 'there must be [[keys]]'],
    [`active = "b"\n[[keys]]\nid = "a"\n${key}`, 'active must name one of the [[keys]]'],
    [`[[keys]]\nid = "a"\n${key}`, 'active must name one of the [[keys]]'],
    [`active = "a"\nkms_default = "b"\n[[keys]]\nid = "a"\n${key}`, 'kms_default must name one of the'],
    [`active = "a"\n[[keys]]\nid = "a"\nkey = "secret!"`, 'keys[0].key is no key'],
    [`active = "a"\n[[keys]]\nid = "a"`, 'keys[0].key is no key'],
    [`active = "a"\n[[keys]]\nid = "a b"\n${key}`, 'keys[0].id must be a name'],
    [`active = "a"\n[[keys]]\nid = "a"\n${key}\n[[keys]]\nid = "a"\n${key}`, "'a' is given twice"],
    [`active = "a"\n[[keys]]\nid = "a"\n${key}\nprevious = ["x"]`, 'keys[0].previous[0] is no key'],
    [
      `active = "a"\n[[keys]]\nid = "a"\n${key}\nprevious = ["${one.toString('hex')}"]`,
      'keys[0] has the same key twice',
    ],
    [`activ = "a"\n[[keys]]\nid = "a"\n${key}`, 'activ: unknown key; the keys here are active'],
  ])('is refused where it is wrong: %j', (text, message) => {
    const read = (): Keyring => Keyring.parse(text, 'the file');
    expect(read).toThrow(KeyringError);
    expect(read).toThrow(`the file: `);
    expect(read).toThrow(message);
  });

  it('is never repeated by an error', () => {
    const secret = one.toString('hex').slice(0, 60);
    for (const text of [
      secret,
      `active = ${secret}`,
      `active = "a"\n[[keys]]\nid = "a"\nkey = "${secret}"`,
    ]) {
      let message = '';
      try {
        Keyring.parse(text, 'k');
      } catch (error) {
        message = inspect(error);
      }
      expect(message).not.toBe('');
      expect(message).not.toContain(secret.slice(0, 8));
    }
  });
});

describe('where keys come from', () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 's3d-keys-'));
  });
  afterEach(async () => {
    await rm(directory, { recursive: true });
  });

  it('a file that only its owner can read', async () => {
    const file = join(directory, 'key');
    await writeFile(file, `${one.toString('base64')}\n`, { mode: 0o600 });
    expect((await readKeyring({ file })).active.material).toEqual(new Uint8Array(one));
    for (const mode of [0o604, 0o602, 0o601, 0o640, 0o644, 0o666]) {
      await chmod(file, mode);
      const refused = await readKeyring({ file }).catch((error: unknown) => error);
      expect(refused).toMatchObject({ name: 'KeyringError', problem: 'exposed' });
      expect(String(refused)).toContain(`chmod 600 ${file}`);
    }
  });

  it('says what is wrong with a file that it cannot use', async () => {
    await expect(readKeyring({ file: join(directory, 'none') })).rejects.toMatchObject({
      problem: 'missing',
    });
    await expect(readKeyring({ file: directory })).rejects.toMatchObject({ name: 'KeyringError' });
  });

  it('a program that prints them', async () => {
    const ring = await readKeyring({ command: ['printf', '%s\\n', two.toString('hex')] });
    expect(ring.active.material).toEqual(new Uint8Array(two));
    expect(ring.source).toBe("key_command 'printf'");
  });

  it('says what became of a program that failed', async () => {
    const failed = readKeyring({ command: ['sh', '-c', 'echo no vault >&2; exit 3'] });
    await expect(failed).rejects.toThrow("key_command 'sh': failed with exit code 3: no vault");
    await expect(readKeyring({ command: [join(directory, 'none')] })).rejects.toThrow(
      "can't be run (ENOENT)",
    );
    await expect(readKeyring({ command: ['true'] })).rejects.toMatchObject({ problem: 'malformed' });
  });
});
