import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { loadConfig } from './load.ts';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 's3d-config-'));
});
afterEach(async () => {
  await rm(directory, { recursive: true });
});

async function load(text: string): Promise<Awaited<ReturnType<typeof loadConfig>>> {
  const file = join(directory, 'c.toml');
  await writeFile(file, text);
  return loadConfig(file);
}

/** The message of the refusal, without the directory. */
async function refusal(text: string): Promise<string> {
  const error = await load(text).then(
    () => undefined,
    (reason: unknown) => reason as Error,
  );
  return (error?.message ?? 'accepted').replaceAll(`${directory}/`, '');
}

const node = (id: number, extra = ''): string =>
  `[[nodes]]\nid = ${id}\nhost = "127.0.0.1"\nport = ${9990 + id}\npath = "n${id}"\n${extra}`;

describe('loadConfig', () => {
  test.each(['cluster.toml', 'config/dev.toml', 'config/server.toml'])(
    '%s, as shipped, is valid and binds loopback',
    async (file) => {
      const config = await loadConfig(file);
      const hosts = [
        config.host,
        ...config.nodes.map((entry) => entry.host),
        ...config.db.map((entry) => entry.host),
      ];
      expect(new Set(hosts)).toEqual(new Set(['127.0.0.1']));
    },
  );

  test('paths are below base_path, an absolute one stays', async () => {
    const config = await load(
      `version = "1.0"\nbase_path = "/srv/s3"\n[cluster]\nsecret_file = "/etc/secret"\n[rs]\ndata=1\nparity=0\n${node(0)}`,
    );
    expect(config.nodes[0]?.path).toBe('/srv/s3/n0');
    expect(config.cluster.secret_file).toBe('/etc/secret');
  });

  test('units become bytes and milliseconds', async () => {
    const config = await load('version = "1.0"\n[repair]\nrate = "1.5MiB/s"\n[gc]\ndelay = "90s"\n');
    expect(config.repair.rate).toBe(1_572_864);
    expect(config.gc.delay).toBe(90_000);
  });

  test.each([
    ['version = "1.0"\nregin = "x"', "c.toml: regin: unknown key; did you mean 'region'?"],
    ['version = "1.0"\n[rs]\ndta = 3\nparity = 2', "rs.dta: unknown key; did you mean 'data'?"],
    [
      'version = "1.0"\n[[auth]]\nacces_key_id = "k"',
      "auth[0].acces_key_id: unknown key; did you mean 'access_key_id'?",
    ],
    ['version = "1.0"\nzzz = 1', 'zzz: unknown key; the keys here are version, region'],
    ['version = "2.0"', 'version: invalid input: expected "1.0"'],
    ['version = "1.0"\nport = "8443"', 'port: invalid input: expected number, received string'],
    ['version = "1.0"\n[gc]\ndelay = "soon"', 'gc.delay: expected a duration such as "1h" or "30s"'],
    ['version = "1.0"\nport = ', 'c.toml:2:8: not valid TOML'],
    [`version = "1.0"\n${node(1)}${node(2)}`, 'rs: data + parity is 5, but there are 2 [[nodes]]'],
    [`version = "1.0"\n[rs]\ndata=1\nparity=1\n${node(1)}${node(1)}`, 'nodes: id 1 is given twice'],
    [
      'version = "1.0"\n[[buckets]]\nname = "x"\npathname = "/srv"',
      "buckets: name 'x' is no bucket's name; expected 3 to 63 of a-z, 0-9, '-' and '.'",
    ],
    ['version = "1.0"\nhost = "not a host"', "host: 'not a host' is neither an IP address nor a host name"],
    [
      'version = "1.0"\n[encryption]\nkey_file = "k"\nkey_command = ["pass", "show", "s3d"]',
      'encryption: key_file and key_command are both given',
    ],
    [
      'version = "1.0"\n[encryption]\nkey_command = "pass"',
      'encryption.key_command: invalid input: expected array',
    ],
    ['version = "1.0"\n[compression]\nalgorithm = "gzip"', 'compression.algorithm: invalid option'],
  ])('refuses %j: %s', async (text, message) => {
    expect(await refusal(text)).toContain(message);
  });

  test('a file that is not there', async () => {
    await expect(loadConfig(join(directory, 'none.toml'))).rejects.toThrow(
      "the config file can't be read (ENOENT); give one with -config FILE",
    );
  });
});
