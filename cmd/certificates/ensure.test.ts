import { execFile } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { chmod, mkdtemp, readdir, readFile, rm, stat, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createAuthority, issueCertificate } from './authority.ts';
import { ensureClusterSecret, loadClusterSecret } from './cluster_secret.ts';
import { ensureDevelopmentCertificates } from './ensure.ts';
import { CertificateError } from './errors.ts';
import { certificateNames, hostsOf, type HostRoles } from './hosts.ts';
import { loadIdentity } from './identity.ts';

const nowMs = Date.UTC(2026, 10, 21);
const dayMs = 24 * 60 * 60 * 1000;

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 's3d-certificates-'));
});
afterEach(async () => {
  await rm(directory, { recursive: true });
});

const loopback: HostRoles = { host: '127.0.0.1', nodes: [0, 1], dbs: [1] };

function ensure(hosts: readonly HostRoles[] = [loopback], atMs = nowMs) {
  const secretFile = join(directory, 'cluster.secret');
  return ensureDevelopmentCertificates({
    directory: join(directory, 'certs'),
    secretFile,
    hosts,
    nowMs: atMs,
  });
}

async function modeOf(file: string): Promise<number> {
  return (await stat(file)).mode & 0o777;
}

async function refusalOf(promise: Promise<unknown>): Promise<CertificateError> {
  const error: unknown = await promise.catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(CertificateError);
  return error as CertificateError;
}

describe('names', () => {
  test('are those of everything on the host', () => {
    expect(certificateNames({ host: '10.0.0.1', nodes: [0, 3], dbs: [1], names: ['s3.test'] }, 'c1')).toEqual(
      [
        '10.0.0.1',
        'node-0.c1.s3d',
        'node-3.c1.s3d',
        'db-1.c1.s3d',
        's3.test',
        'localhost',
        '127.0.0.1',
        '::1',
      ],
    );
    expect(certificateNames({ host: '0.0.0.0', nodes: [], dbs: [] }, 'c1')).not.toContain('0.0.0.0');
    expect(() => certificateNames({ host: '../x', nodes: [], dbs: [] }, 'c1')).toThrow(RangeError);
  });

  test('come from a config, host by host', () => {
    const config = {
      host: '0.0.0.0',
      domain: 's3.test',
      nodes: [
        { id: 0, host: 'a' },
        { id: 1, host: 'b' },
      ],
      db: [{ id: 7, host: 'a' }],
    };
    const names = ['s3.test', '*.s3.test'];
    expect(hostsOf(config, () => ['10.0.0.7'])).toEqual([
      { host: '0.0.0.0', nodes: [], dbs: [], names: [...names, '10.0.0.7'] },
      { host: 'a', nodes: [0], dbs: [7], names },
      { host: 'b', nodes: [1], dbs: [], names },
    ]);
    expect(hostsOf({ host: '::1', domain: '', nodes: [], db: [] })).toEqual([
      { host: '::1', nodes: [], dbs: [], names: [] },
    ]);
  });
});

describe('ensureDevelopmentCertificates', () => {
  test('makes this machine a certificate by its own names where all addresses are bound', async () => {
    const config = { host: '0.0.0.0', domain: '', nodes: [{ id: 0, host: '127.0.0.1' }], db: [] };
    const made = await ensure(hostsOf(config));
    await loadIdentity(made.identities.get('0.0.0.0')!, { nowMs, names: ['localhost', '127.0.0.1'] });
    expect((await ensure(hostsOf(config))).written).toEqual([]);
  });

  test('makes a secret, a CA and a pair for each host, private where it must be', async () => {
    const made = await ensure([loopback, { host: '::1', nodes: [2], dbs: [] }]);
    const certs = join(directory, 'certs');
    expect((await readdir(certs)).sort()).toEqual([
      '--1.key',
      '--1.pem',
      '127.0.0.1.key',
      '127.0.0.1.pem',
      'ca.key',
      'ca.pem',
    ]);
    expect(made.written.length).toBe(7);
    for (const file of ['ca.key', '127.0.0.1.key', '--1.key', '../cluster.secret']) {
      expect(await modeOf(join(certs, file))).toBe(0o600);
    }
    const files = made.identities.get('127.0.0.1')!;
    const identity = await loadIdentity(files, {
      nowMs,
      names: [`node-0.${made.clusterId}.s3d`, `db-1.${made.clusterId}.s3d`, 'localhost', '127.0.0.1'],
    });
    expect(identity.expiresAtMs).toBeGreaterThan(nowMs + 729 * dayMs);
    const authority = new X509Certificate(identity.ca);
    expect(authority.validToDate.getTime()).toBeGreaterThan(nowMs + 3650 * dayMs);
    expect(authority.ca).toBe(true);
    expect(new X509Certificate(identity.cert).ca).toBe(false);
  });

  test('changes nothing the second time', async () => {
    const first = await ensure();
    const texts = await Promise.all([...first.written].map((file) => readFile(file, 'utf8')));
    const second = await ensure();
    expect(second.written).toEqual([]);
    expect(second).toMatchObject({ clusterId: first.clusterId, secret: first.secret });
    expect(await Promise.all([...first.written].map((file) => readFile(file, 'utf8')))).toEqual(texts);
  });

  test('started many times at once makes one cluster', async () => {
    for (let round = 0; round < 5; round += 1) {
      await rm(join(directory, 'certs'), { recursive: true, force: true });
      await rm(join(directory, 'cluster.secret'), { force: true });
      const all = await Promise.all(Array.from({ length: 8 }, () => ensure()));
      expect(new Set(all.map(({ clusterId }) => clusterId)).size).toBe(1);
      expect(new Set(all.map(({ secret }) => Buffer.from(secret).toString('hex'))).size).toBe(1);
      const written = all.flatMap((made) => made.written).filter((file) => !file.endsWith('127.0.0.1.pem'));
      expect(written.length).toBe(4);
      const names = [`node-1.${all[0]?.clusterId ?? ''}.s3d`];
      await loadIdentity(all[0]!.identities.get('127.0.0.1')!, { nowMs, names });
      const left = await readdir(join(directory, 'certs'));
      expect(left.filter((file) => file.startsWith('.tmp'))).toEqual([]);
    }
  });

  test.each(['cluster.secret', 'certs/ca.pem', 'certs/127.0.0.1.pem', 'certs/127.0.0.1.key'])(
    'goes on where a start without %s was interrupted',
    async (file) => {
      await ensure();
      await unlink(join(directory, file));
      const again = await ensure();
      expect(again.written).toContain(join(directory, file));
      const names = [`node-0.${again.clusterId}.s3d`];
      await loadIdentity(again.identities.get('127.0.0.1')!, { nowMs, names });
    },
  );

  test('makes a certificate anew when names are added or its end is near, with the same key', async () => {
    const first = await ensure();
    const { keyFile, certFile } = first.identities.get('127.0.0.1')!;
    const key = await readFile(keyFile, 'utf8');
    const grown = await ensure([{ ...loopback, nodes: [0, 1, 2] }]);
    expect(grown.written).toEqual([certFile]);
    expect((await ensure()).written).toEqual([]);
    const late = nowMs + 701 * dayMs;
    expect((await ensure([loopback], late)).written).toEqual([certFile]);
    expect(await readFile(keyFile, 'utf8')).toBe(key);
    await loadIdentity(first.identities.get('127.0.0.1')!, { nowMs: late });
  });

  test('is content without the key of the CA while nothing is to be signed', async () => {
    await ensure();
    await unlink(join(directory, 'certs/ca.key'));
    expect((await ensure()).written).toEqual([]);
    const error = await refusalOf(ensure([{ ...loopback, nodes: [9] }]));
    expect(error).toMatchObject({ code: 'missing', file: join(directory, 'certs/ca.key') });
    expect(error.message).toMatch(/node-9\..*s3d certs/);
  });

  test('names the place that it can not write to', async () => {
    await writeFile(join(directory, 'certs'), 'a file');
    expect(await refusalOf(ensure())).toMatchObject({ code: 'unwritable', file: join(directory, 'certs') });
    const secretFile = join(directory, 'certs/cluster.secret');
    const elsewhere = { directory: join(directory, 'x'), secretFile, hosts: [], nowMs };
    expect((await refusalOf(ensureDevelopmentCertificates(elsewhere))).code).toMatch(/^un(?:writ|read)able$/);
  });

  test('started in several processes at once makes one cluster', async () => {
    const script =
      `import { ensureDevelopmentCertificates } from ${JSON.stringify(new URL('ensure.ts', import.meta.url).href)};` +
      `const made = await ensureDevelopmentCertificates(${JSON.stringify({
        directory: join(directory, 'certs'),
        secretFile: join(directory, 'cluster.secret'),
        hosts: [loopback],
        nowMs,
      })}); console.log(made.clusterId, Buffer.from(made.secret).toString('hex'));`;
    const outputs = await Promise.all(
      Array.from({ length: 4 }, async () => {
        const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script]);
        return stdout;
      }),
    );
    expect(new Set(outputs).size).toBe(1);
    const again = await ensure();
    expect(again.written).toEqual([]);
    await loadIdentity(again.identities.get('127.0.0.1')!, { nowMs, names: [`db-1.${again.clusterId}.s3d`] });
  });

  test('refuses a key of another CA, or one that everybody can read', async () => {
    await ensure();
    const keyFile = join(directory, 'certs/ca.key');
    await chmod(keyFile, 0o644);
    expect((await refusalOf(ensure())).code).toBe('exposed');
    const { privateKeyPem } = await createAuthority({ clusterId: 'other', nowMs });
    await writeFile(keyFile, privateKeyPem);
    await chmod(keyFile, 0o600);
    expect((await refusalOf(ensure())).code).toBe('key-mismatch');
    await writeFile(keyFile, 'nonsense');
    expect((await refusalOf(ensure())).code).toBe('malformed');
  });
});

describe('the cluster secret', () => {
  test('is read as it was made', async () => {
    const file = join(directory, 'deep/cluster.secret');
    const made = await ensureClusterSecret(file);
    expect(made.created).toBe(true);
    expect(made.secret.length).toBe(32);
    expect(await loadClusterSecret(file)).toEqual({ clusterId: made.clusterId, secret: made.secret });
    expect((await ensureClusterSecret(file)).created).toBe(false);
  });

  test.each([
    ['no TOML', 'secret = "0123', 'malformed'],
    ['no id', `secret = "${'a'.repeat(64)}"`, 'malformed'],
    ['an id that is no label', `cluster_id = "../../../../../x"\nsecret = "${'a'.repeat(64)}"`, 'malformed'],
    ['a short secret', `cluster_id = "0123456789abcdef"\nsecret = "abcd"`, 'malformed'],
  ])('is refused with %s, without being repeated', async (_, text, code) => {
    const file = join(directory, 'cluster.secret');
    await writeFile(file, text, { mode: 0o600 });
    const error = await refusalOf(loadClusterSecret(file));
    expect(error.code).toBe(code);
    expect(error.message).not.toMatch(/0123|abcd|aaaa/);
  });

  test('is refused if it is missing or open to all', async () => {
    const file = join(directory, 'cluster.secret');
    expect((await refusalOf(loadClusterSecret(file))).message).toMatch(
      /cluster\.secret: there is no such file; .*s3d certs/,
    );
    await ensureClusterSecret(file);
    await chmod(file, 0o604);
    expect((await refusalOf(loadClusterSecret(file))).message).toMatch(/mode 0604.*chmod 600/);
  });
});

describe('loadIdentity', () => {
  async function identityFiles() {
    return (await ensure()).identities.get('127.0.0.1')!;
  }

  test.each(['certFile', 'keyFile', 'caFile'] as const)('names a missing or unreadable %s', async (which) => {
    const files = await identityFiles();
    await unlink(files[which]);
    expect(await refusalOf(loadIdentity(files, { nowMs }))).toMatchObject({
      code: 'missing',
      file: files[which],
    });
    const asDirectory = { ...files, [which]: directory };
    expect(await refusalOf(loadIdentity(asDirectory, { nowMs }))).toMatchObject({
      code: 'unreadable',
      file: directory,
    });
  });

  test.each(['certFile', 'keyFile', 'caFile'] as const)('refuses a broken %s', async (which) => {
    const files = await identityFiles();
    for (const text of ['', 'nonsense', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n']) {
      await writeFile(files[which], text);
      expect(await refusalOf(loadIdentity(files, { nowMs }))).toMatchObject({
        code: 'malformed',
        file: files[which],
      });
    }
  });

  test('refuses what has expired or is of the future', async () => {
    const files = await identityFiles();
    const late = await refusalOf(loadIdentity(files, { nowMs: nowMs + 730 * dayMs }));
    expect(late).toMatchObject({ code: 'expired', file: files.certFile });
    expect(late.message).toMatch(/expired at 2028-11-/);
    expect(await refusalOf(loadIdentity(files, { nowMs: nowMs + 3652 * dayMs }))).toMatchObject({
      file: files.caFile,
    });
    expect(await refusalOf(loadIdentity(files, { nowMs: nowMs - dayMs }))).toMatchObject({
      code: 'not-yet-valid',
    });
  });

  test('refuses a key of another certificate, and one that everybody can read', async () => {
    const files = await identityFiles();
    await chmod(files.keyFile, 0o644);
    expect(await refusalOf(loadIdentity(files, { nowMs }))).toMatchObject({
      code: 'exposed',
      file: files.keyFile,
    });
    const { privateKeyPem } = await createAuthority({ clusterId: 'x', nowMs });
    await writeFile(files.keyFile, privateKeyPem);
    await chmod(files.keyFile, 0o600);
    expect(await refusalOf(loadIdentity(files, { nowMs }))).toMatchObject({ code: 'key-mismatch' });
  });

  test('refuses a certificate of another CA, even of one with the same name', async () => {
    const files = await identityFiles();
    const { clusterId } = await ensure();
    const other = await createAuthority({ clusterId, nowMs });
    await writeFile(files.caFile, other.certificatePem);
    expect(await refusalOf(loadIdentity(files, { nowMs }))).toMatchObject({
      code: 'wrong-authority',
      file: files.certFile,
    });
  });

  test('accepts a second CA beside the first, and intermediates', async () => {
    const files = await identityFiles();
    const other = await createAuthority({ clusterId: 'other', nowMs: nowMs - 4000 * dayMs });
    await writeFile(files.caFile, other.certificatePem + (await readFile(files.caFile, 'utf8')));
    await loadIdentity(files, { nowMs });
    const chained = `${await readFile(files.certFile, 'utf8')}${other.certificatePem}`;
    await writeFile(files.certFile, chained);
    await loadIdentity(files, { nowMs });
  });

  test('refuses a certificate for another host', async () => {
    const files = await identityFiles();
    const error = await refusalOf(
      loadIdentity(files, { nowMs, names: ['localhost', '10.1.2.3', 'node-9.x.s3d'] }),
    );
    expect(error.code).toBe('wrong-name');
    expect(error.message).toMatch(/10\.1\.2\.3, node-9\.x\.s3d/);
  });
});

test('a certificate needs a name', async () => {
  const authority = await createAuthority({ clusterId: 'x', nowMs });
  await expect(issueCertificate(authority, { names: [], nowMs })).rejects.toThrow(RangeError);
});
