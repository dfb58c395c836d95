import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import {
  decodeCommand,
  encodeBatchCommand,
  UnknownCommandError,
  type CommandForms,
  type DecodedCommand,
} from './command.ts';
import type { Database } from './database.ts';
import { until } from './testing/driver_cluster.ts';
import { TestCluster } from './testing/test_cluster.ts';

let cluster: TestCluster;

afterEach(async () => {
  await cluster.close();
});

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));
const mark = bytes('the form of version two');

/** A later program: its version 2 has a form of its own, that no earlier program can read. */
const later: CommandForms = {
  newest: 2,
  encode(command, version) {
    const first = encodeBatchCommand(command);
    return version < 2 ? first : Uint8Array.of(2, ...mark, ...first);
  },
  decode(data): DecodedCommand {
    return data[0] === 2 ? decodeCommand(data.subarray(1 + mark.length)) : decodeCommand(data);
  },
};

async function put(database: Database, key: string): Promise<void> {
  const operation = { type: 'put' as const, table: 't', key: bytes(key), value: bytes('value') };
  await database.batch({ conditions: [], operations: [operation] }, { deadlineMs: 15_000 });
}

/** Whether a replica's log holds a command of version 2. */
async function usesVersion2(id: number): Promise<boolean> {
  const directory = join(cluster.directoryOf(id), 'log');
  for (const name of await readdir(directory)) {
    if (name.endsWith('.seg') && (await readFile(join(directory, name))).includes(mark)) return true;
  }
  return false;
}

const versions = (): number[] =>
  [...cluster.servers.values()].map((server) => server.status().state.command_version);

it('a new version of commands is used only once every voter knows it, and then for good', async () => {
  cluster = await TestCluster.start({ size: 3 });
  const client = await cluster.client();
  await put(client, 'before');
  for (const id of [1, 2]) {
    await cluster.stopServer(id);
    await put(client, `without-${id}`);
    await cluster.startServer(id, { commandForms: later });
    await cluster.servers.get(id)!.ready(10_000);
  }
  // A leader that knows the new version, with a voter that doesn't.
  for (let i = 0; i < 150; i++) {
    await put(client, `mixed-${i}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  expect(versions()).toEqual([1, 1, 1]);
  await cluster.stopServer(3);
  await put(client, 'without-3');
  expect(await usesVersion2(1)).toBe(false);
  await cluster.startServer(3, { commandForms: later });
  await until('all use the new version', () => versions().every((version) => version === 2), 20_000);
  await put(client, 'after');
  const leader = [...cluster.servers.values()]
    .find((server) => server.status().role === 'leader')!
    .status().id;
  expect(await usesVersion2(leader)).toBe(true);

  // Nobody need be there any more for it, and an older program neither starts nor joins.
  await cluster.stopServer(3);
  await put(client, 'without-3-again');
  await expect(cluster.startServer(3)).rejects.toThrow(UnknownCommandError);
  await expect(cluster.startServer(3)).rejects.toThrow('start a newer one');
  const empty = await cluster.startServer(3, { directory: join(cluster.directory, 'empty') });
  await until('it is told so', () => cluster.log.some((line) => line.includes('a newer program is needed')));
  expect(empty.status().role).not.toBe('follower');
  await cluster.stopServer(3);
  await cluster.startServer(3, { commandForms: later });
  for (const key of ['before', 'mixed-99', 'after', 'without-3-again']) {
    const through = await cluster.client([3]);
    expect(await through.get('t', bytes(key), { deadlineMs: 15_000 })).toEqual(bytes('value'));
    await through.close();
  }
  await client.close();
  expect(cluster.failures).toEqual([]);
}, 60_000);

it('a replica halts at a command that it does not know, rather than skip it', async () => {
  const reckless: CommandForms = { ...later, encode: (command) => later.encode(command, 2) };
  cluster = await TestCluster.start({ size: 3 });
  const client = await cluster.client();
  await put(client, 'before');
  for (const id of [1, 2]) {
    await cluster.stopServer(id);
    await cluster.startServer(id, { commandForms: reckless });
  }
  const lead = (): number | null | undefined => cluster.servers.get(1)?.status().leader_id;
  await until('a new program leads', () => lead() === 1 || lead() === 2 || lead() === 3, 10_000);
  const failed = new Promise<void>((resolve) => {
    const timer = setInterval(() => {
      if (cluster.failures.length === 0) return;
      clearInterval(timer);
      resolve();
    }, 10);
  });
  if (lead() === 3) await cluster.stopServer(3).then(() => cluster.startServer(3));
  await put(client, 'of version 2');
  await failed;
  expect(cluster.failures[0]?.message).toContain('not known here');
  expect(cluster.servers.get(3)!.status()).toMatchObject({ role: 'failed' });
  await put(client, 'the others go on');
  await client.close();
}, 60_000);
